"""Search attributes: what the list of runs in the Temporal UI can be filtered and sorted by."""

from typing import Any

from temporalio.common import (
    SearchAttributeKey,
    SearchAttributePair,
    SearchAttributeUpdate,
    TypedSearchAttributes,
)

from domain.approvals.narrate import Visible

STATUS = SearchAttributeKey.for_keyword("DealwrightStatus")
CUSTOMER = SearchAttributeKey.for_keyword("DealwrightCustomer")
WAITING_ON = SearchAttributeKey.for_keyword_list("DealwrightWaitingOn")
WAITING_SINCE = SearchAttributeKey.for_datetime("DealwrightWaitingSince")
DUE = SearchAttributeKey.for_datetime("DealwrightDue")

TYPES = {"DealwrightStatus": "Keyword", "DealwrightCustomer": "Keyword", "DealwrightWaitingOn": "KeywordList",
         "DealwrightWaitingSince": "Datetime", "DealwrightDue": "Datetime"}  # fmt: skip


def _pairs(shown: Visible) -> list[tuple[SearchAttributeKey[Any], Any]]:
    return [
        (STATUS, shown.status),
        (CUSTOMER, shown.customer or None),
        (WAITING_ON, list(shown.waiting_on) or None),
        (WAITING_SINCE, shown.waiting_since),
        (DUE, shown.due),
    ]


def attributes(now: Visible, before: Visible) -> list[SearchAttributeUpdate[Any]]:
    """The updates that lead from what is shown to what should be."""
    was = dict(_pairs(before))
    return [
        key.value_unset() if value is None else key.value_set(value) for key, value in _pairs(now) if was[key] != value
    ]


def at_start(shown: Visible) -> TypedSearchAttributes:
    return TypedSearchAttributes([SearchAttributePair(key, value) for key, value in _pairs(shown) if value is not None])
