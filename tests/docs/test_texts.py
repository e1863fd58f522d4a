"""Every text people read exists in every language, with the same facts in it."""

import re
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
