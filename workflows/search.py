"""Search attributes: what the list of runs in the Temporal UI can be filtered and sorted by."""

from collections.abc import Sequence
from typing import Any

from temporalio.api.enums.v1 import IndexedValueType
from temporalio.api.operatorservice.v1 import AddSearchAttributesRequest, ListSearchAttributesRequest
from temporalio.client import Client
from temporalio.common import (
    SearchAttributeKey,
    SearchAttributePair,
    SearchAttributeUpdate,
    TypedSearchAttributes,
)
from temporalio.service import RPCError, RPCStatusCode

from domain.runs import Visible

STATUS = SearchAttributeKey.for_keyword("DealwrightStatus")
CUSTOMER = SearchAttributeKey.for_keyword("DealwrightCustomer")
WAITING_ON = SearchAttributeKey.for_keyword_list("DealwrightWaitingOn")
WAITING_SINCE = SearchAttributeKey.for_datetime("DealwrightWaitingSince")
DUE = SearchAttributeKey.for_datetime("DealwrightDue")

TYPES = {
    "DealwrightStatus": "Keyword",
    "DealwrightCustomer": "Keyword",
    "DealwrightWaitingOn": "KeywordList",
    "DealwrightWaitingSince": "Datetime",
    "DealwrightDue": "Datetime",
}
KINDS = {
    "Keyword": IndexedValueType.INDEXED_VALUE_TYPE_KEYWORD,
    "KeywordList": IndexedValueType.INDEXED_VALUE_TYPE_KEYWORD_LIST,
    "Datetime": IndexedValueType.INDEXED_VALUE_TYPE_DATETIME,
}


async def register_attributes(client: Client) -> int:
    """Make Temporal know our attributes; says how many were new. An upsert of an unknown one would hang its run."""
    service = client.operator_service
    try:
        known = await service.list_search_attributes(ListSearchAttributesRequest(namespace=client.namespace))
        missing = {name: KINDS[kind] for name, kind in TYPES.items() if name not in known.custom_attributes}
    except RPCError as error:  # the time-skipping server cannot list
        if error.status is not RPCStatusCode.UNIMPLEMENTED:
            raise
        missing = {name: KINDS[kind] for name, kind in TYPES.items()}
    if missing:
        await service.add_search_attributes(
            AddSearchAttributesRequest(namespace=client.namespace, search_attributes=missing)
        )
    return len(missing)


def _pairs(shown: Visible) -> list[tuple[SearchAttributeKey[Any], Any]]:
    return [
        (STATUS, shown.status),
        (CUSTOMER, shown.customer or None),
        (WAITING_ON, list(shown.waiting_on) or None),
        (WAITING_SINCE, shown.waiting_since),
        (DUE, shown.due),
    ]


def attributes(now: Visible, shown: TypedSearchAttributes) -> list[SearchAttributeUpdate[Any]]:
    """The updates that lead from what is shown to what should be."""
    return [
        key.value_unset() if value is None else key.value_set(value)
        for key, value in _pairs(now)
        if _value(shown.get(key)) != value
    ]


def _value(value: Any) -> Any:
    return list(value) if isinstance(value, Sequence) and not isinstance(value, str) else value


def at_start(shown: Visible) -> TypedSearchAttributes:
    return TypedSearchAttributes([SearchAttributePair(key, value) for key, value in _pairs(shown) if value is not None])
