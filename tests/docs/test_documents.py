"""What the documents say is so."""

import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from cli.dev import Ports
from domain.people import Role
from domain.permissions import TABLE
from tests.conftest import ROOT
from tests.e2e.test_stack import CLEAN

BLOCK = re.compile(r"^```sh\n(.*?)^```", re.M | re.S)
LINK = re.compile(r"\]\((?!http)([^)#]+)\)")


def permissions_page() -> str:
    """The permission table as a page."""
    roles = [role for role in Role if any(role in grants for grants in TABLE.values())]
    lines = [
        "# Who may do what", "",
        "An act, and for each role the rows it reaches. `own`: quotes the person owns. `involved`: subjects",
        "that wait or waited on them. `self`: what is theirs. Empty: refused. A person with several roles has",
        "the reach of all of them.", "",
        f"| act | {' | '.join(roles)} |", f"| --- |{' --- |' * len(roles)}"]  # fmt: skip
    lines += [
        f"| `{act}` | {' | '.join(grants[r].value if r in grants else '' for r in roles)} |"
        for act, grants in TABLE.items()
    ]
    return "\n".join(lines) + "\n"


def test_the_permissions_page_is_the_table() -> None:
    page = ROOT / "docs" / "permissions.md"
    if not page.exists():
        page.write_text(permissions_page())
    assert page.read_text() == permissions_page(), "delete docs/permissions.md and run this test again to renew it"


@pytest.mark.parametrize("page", [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")], ids=lambda p: p.name)
def test_links_lead_somewhere(page: Path) -> None:
    for link in LINK.findall(page.read_text()):
        assert (page.parent / link).exists(), link


@pytest.mark.e2e
def test_the_commands_of_the_readme_work(tmp_path: Path) -> None:
    """Each in its order; the stack of `make run` is moved to a home and ports of the test's own."""
    commands = [
        line for block in BLOCK.findall((ROOT / "README.md").read_text()) for line in block.strip().splitlines()
    ]
    assert commands[:2] == ["make run", "make test"]
    with_an_erp = commands.index("make tour")
    assert commands[with_an_erp + 1] == 'make run ARGS="--erp tryton"'
    ports, home = Ports.free(), tmp_path / "home"
    moved = f"--home {home} --api-port {ports.api} --temporal-port {ports.temporal} --ui-port {ports.ui} --mail-port {ports.mail} --replies-port {ports.replies} --worker-port {ports.worker} --notify-port {ports.notify}"
    venv = Path(sys.executable).parent.parent
    make = ["make", f"VENV={venv}", f"ARGS={moved}"]
    log = tmp_path / "run.log"
    with log.open("wb") as out:
        stack = subprocess.Popen(
            [*make, "-o", f"{venv}/.ready", "run"], cwd=ROOT, env=CLEAN, stdout=out, stderr=out, start_new_session=True
        )
    try:
        until = time.monotonic() + 90
        while "Ctrl-C stops everything" not in log.read_text():
            assert stack.poll() is None, log.read_text()
            assert time.monotonic() < until, log.read_text()
            time.sleep(0.2)
        for command in commands[2:with_an_erp]:
            words = command.replace(".venv", str(venv), 1).split()
            done = subprocess.run(
                [*words, "--home", str(home)],
                cwd=ROOT,
                env=CLEAN,
                capture_output=True,
                text=True,
                timeout=120,
                check=False,
            )
            assert done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"
    finally:
        import os

        os.killpg(stack.pid, signal.SIGINT)
        stack.wait(60)
    listed = subprocess.run(["make", "help"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert all(f"make {name}" in listed for name in ("run", "erp", "test", "check", "bench", "tour"))
