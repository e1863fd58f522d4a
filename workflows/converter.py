"""The one data converter of every client, worker and replayer."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, ClassVar

from temporalio.api.common.v1 import Payload
from temporalio.common import RawValue
from temporalio.contrib.pydantic import PydanticPayloadConverter, pydantic_data_converter


class TolerantConverter(PydanticPayloadConverter):
    """Gives back what nobody gave a type for and cannot be read as it came.

    The SDK logs and drops a signal whose payload does not decode, after telling its sender that all is well.
    It also asks for a converter with every activation; this one has no state, so they share one."""

    made: ClassVar["TolerantConverter | None"] = None

    def __new__(cls) -> "TolerantConverter":
        cls.made = cls.made or super().__new__(cls)
        return cls.made

    def __init__(self) -> None:
        if not hasattr(self, "converters"):
            super().__init__()

    def from_payloads(self, payloads: Sequence[Payload], type_hints: list[type] | None = None) -> list[Any]:
        if type_hints:
            return super().from_payloads(payloads, type_hints)
        return [self._untyped(payload) for payload in payloads]

    def _untyped(self, payload: Payload) -> Any:
        try:
            return super().from_payloads([payload])[0]
        except (RuntimeError, KeyError, ValueError, RecursionError):
            return RawValue(payload)


data_converter = replace(pydantic_data_converter, payload_converter_class=TolerantConverter)
