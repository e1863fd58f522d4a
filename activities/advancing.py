"""The activity behind every run's `advance`."""

from temporalio import activity

from domain.runs import Advanced, AdvanceRequest
from domain.runs.contracts import ADVANCE
from services.runs.advancing import Advancer


class Advancing:
    def __init__(self, advancer: Advancer) -> None:
        self._advancer = advancer

    @activity.defn(name=ADVANCE)
    async def advance(self, request: AdvanceRequest) -> Advanced:
        """See `services.runs.advancing`."""
        return await self._advancer.advance(request)
