"""Every file and command that the documents name is there."""

import re
import subprocess

import pytest

from tests.conftest import ROOT

DOCUMENTS = ("README.md", "ARCHITECTURE.md", "CONTRIBUTING.md", "docs/ops.md", "docs/glossary.md")
PATH = re.compile(r"`((?:[a-z_]+/)+(?:[a-z_]+\.(?:py|yaml|yml|md|po))?)`")
MODULE = re.compile(r"`((?:app|cli|domain|services|storage|workflows|activities)(?:\.[a-z_]+)+)(?:\.[A-Za-z_]+)?`")
MAKE = re.compile(r"`make ([a-z]+)`")


@pytest.mark.parametrize("document", DOCUMENTS)
def test_every_path_that_a_document_names_is_there(document: str) -> None:
    named = set(PATH.findall((ROOT / document).read_text()))
    assert sorted(path for path in named if not (ROOT / path).exists() and not list(ROOT.glob(f"*/{path}"))) == []


@pytest.mark.parametrize(
    "document", [*DOCUMENTS, *(f.relative_to(ROOT).as_posix() for f in ROOT.glob("docs/decisions/*.md"))]
)
def test_every_module_that_a_document_names_is_there(document: str) -> None:
    named = {module.replace(".", "/") for module in MODULE.findall((ROOT / document).read_text())}
    there = {path for path in named if (ROOT / f"{path}.py").exists() or (ROOT / path).is_dir()}
    parents = {path for path in named if (ROOT / f"{path.rpartition('/')[0]}.py").exists()}  # a name in a module
    assert sorted(named - there - parents) == []


def test_every_target_of_make_that_a_document_names_is_there() -> None:
    known = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    named = {name for document in DOCUMENTS for name in MAKE.findall((ROOT / document).read_text())}
    assert sorted(named - known) == []


def test_every_command_that_a_document_names_is_there() -> None:
    told = subprocess.run(
        [str(ROOT / ".venv/bin/dealwright"), "--help"], capture_output=True, text=True, check=True
    ).stdout
    named = {
        name for document in DOCUMENTS for name in re.findall(r"`dealwright ([a-z]+)", (ROOT / document).read_text())
    }
    assert sorted(name for name in named if not re.search(rf"\b{name}\b", told)) == []


@pytest.mark.parametrize("record", sorted(f.name for f in ROOT.glob("docs/decisions/*.md")))
def test_every_decision_says_its_status_day_context_and_consequences(record: str) -> None:
    text = (ROOT / "docs/decisions" / record).read_text()
    number = int(record.partition("-")[0])
    assert re.match(rf"# {number}\. .+\n\n- Status: .+\n- Date: \d{{4}}-\d\d-\d\d\n\n## Context and problem\n", text)
    assert [h for h in re.findall(r"^## (.+)$", text, re.MULTILINE) if h != "Alternatives"] == [
        "Context and problem", "Decision", "Consequences",
    ]  # fmt: skip


@pytest.mark.parametrize(
    "document", sorted(f.relative_to(ROOT).as_posix() for f in [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")])
)
def test_lines_of_prose_have_a_hundred_characters_at_most(document: str) -> None:
    prose = re.sub(r"^```.*?^```", "", (ROOT / document).read_text(), flags=re.MULTILINE | re.DOTALL)
    lines = [line for line in prose.splitlines() if not line.startswith(("|", "    "))]
    assert [line for line in lines if len(line) > 100] == []
