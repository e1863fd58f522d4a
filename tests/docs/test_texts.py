"""Every text people read exists in every language, with the same facts in it."""

import ast
import re
from collections import defaultdict
from collections.abc import Iterator
from string import Formatter
from typing import get_args

import pytest

from domain.approvals.acts import RoundMachine
from domain.approvals.round import ApprovalStatus, RoundStatus
from domain.customers.contracts import ContractKind
from domain.orders.acts import OWNERS, OrderMachine
from domain.orders.documents import Message
from domain.orders.order import OrderStatus
from domain.orders.returned import ReturnMachine, ReturnStatus
from domain.orders.split import Terms
from domain.quotes import QuoteStatus
from tests.conftest import ROOT
from texts import LANGUAGES, catalog

CALL = re.compile(r"""(?:_|say)\(\s*(?:"([^"]+)"|'([^']+)')""")
KINDS = get_args(Message.model_fields["kind"].annotation)
STATUSES = (
    *KINDS,
    *QuoteStatus,
    *RoundStatus,
    *ApprovalStatus,
    *OrderStatus,
    *ReturnStatus,
    *get_args(Terms),
    *OWNERS,
    *get_args(ContractKind),
)
VERBS = (
    *RoundMachine.verbs,
    *OrderMachine.verbs,
    *ReturnMachine.verbs,
    "replace_goods",
    "customer_accepts",
    "approval",
    "accept",
    "split",
    "drafted",
    "edited",
    "imported",
    "expire",
    "comment",
    "lapse",
    "extend",
)


def used() -> Iterator[str]:
    files = [
        *ROOT.glob("console/templates/*.html"),
        *ROOT.glob("notify/templates/*"),
        *ROOT.glob("console/*.py"),
        *ROOT.glob("notify/*.py"),
    ]
    for file in files:
        for double, single in CALL.findall(file.read_text()):
            yield double or single
    for word in (*STATUSES, *VERBS):
        yield word.replace("_", " ").capitalize()
    from notify.letters import OUTCOMES, SUBJECTS

    yield from (*SUBJECTS.values(), *OUTCOMES.values())


@pytest.mark.parametrize("language", [name for name in LANGUAGES if name != "en"])
def test_every_text_is_translated(language: str) -> None:
    known = catalog(language)
    assert sorted(set(used()) - set(known)) == []
    for text, said in known.items():
        names = {field for _, field, _, _ in Formatter().parse(text) if field}
        assert {field for _, field, _, _ in Formatter().parse(said) if field} == names, text


REFUSALS = {
    **dict.fromkeys(("NotFound", "NotAllowed", "NotSignedIn", "Stale", "Locked", "Clash", "Unresolved", "TooMany"), 0),
    **dict.fromkeys(("TooLarge", "VersionRequired", "Sentence", "BadExpression", "ValueError", "invalid_fields"), 0),
    **dict.fromkeys(("refused", "problem", "Invalid.field"), 1),
}  # fmt: skip
"""Where what a call refuses stands among its arguments."""
FOLDERS = ("domain", "services", "api", "console", "storage", "notify")
ENGLISH = ("services/imports/csv_files.py", "services/imports/records.py", "services/imports/salesforce.py", "services/imports/salesforce_approvals.py",
           "services/imports/sales_orders.py", "services/imports/importing.py", "storage/backup.py")  # fmt: skip
"""Read in a terminal, which speaks English."""
NOT_REFUSED = ("api/problems.py", "console/app.py")
"""Their `problem` and `refused` are others."""


def named_texts(tree: ast.AST) -> dict[str, list[ast.expr]]:
    """What the names of a module are set to."""
    found: dict[str, list[ast.expr]] = defaultdict(list)
    for node in ast.walk(tree):
        if isinstance(node, ast.Assign):
            for target in node.targets:
                several = isinstance(target, ast.Tuple) and isinstance(node.value, ast.Tuple)
                pairs = zip(target.elts, node.value.elts, strict=True) if several else [(target, node.value)]
                for name, value in pairs:
                    found[ast.unparse(name)].append(value)
    return found


def literals(text: ast.expr, named: dict[str, list[ast.expr]]) -> Iterator[ast.expr]:
    """The texts that an expression can be; one made on the spot stays what it is."""
    if isinstance(text, ast.IfExp):
        yield from (*literals(text.body, named), *literals(text.orelse, named))
    elif isinstance(text, ast.Name) and text.id in named:
        for value in named[text.id]:
            yield from literals(value, named)
    elif isinstance(text, ast.Constant | ast.JoinedStr | ast.BinOp):
        yield text


def refusals() -> Iterator[tuple[str, ast.expr]]:
    """Each sentence that says why something is refused, with the place where it stands."""
    for file in sorted(file for folder in FOLDERS for file in (ROOT / folder).rglob("*.py")):
        place = file.relative_to(ROOT).as_posix()
        if place in (*ENGLISH, *NOT_REFUSED) or "migrations" in place:
            continue
        tree = ast.parse(file.read_text())
        named = named_texts(tree)
        for call in (node for node in ast.walk(tree) if isinstance(node, ast.Call)):
            at = REFUSALS.get(ast.unparse(call.func))
            if at is not None and len(call.args) > at:
                yield from ((f"{place}:{call.lineno}", text) for text in literals(call.args[at], named))
    from domain.errors import ClosedForRestore, CommandIdReused, Unavailable
    from domain.problems import WORDS

    for sentence in (*WORDS.values(), *(kind().sentence for kind in (ClosedForRestore, CommandIdReused, Unavailable))):
        yield "domain/problems.py", ast.Constant(sentence)


def test_no_refusal_is_put_together_on_the_spot() -> None:
    """A template can be translated; what an f-string made cannot."""
    found = list(refusals())
    assert len(found) > 350
    assert [place for place, text in found if not isinstance(text, ast.Constant)] == []


@pytest.mark.parametrize("language", [name for name in LANGUAGES if name != "en"])
def test_every_refusal_is_translated(language: str) -> None:
    known = catalog(language)
    said = {(text.value, place) for place, text in refusals() if isinstance(text, ast.Constant) and text.value}
    assert sorted((text, place) for text, place in said if text not in known) == []
