"""The activity behind every run's `advance`."""

from temporalio import activity

from domain.runs import Advanced, AdvanceRequest
from services.advancing import Advancer
from workflows.contracts import ADVANCE


class Advancing:
    def __init__(self, advancer: Advancer) -> None:
        self._advancer = advancer

    @activity.defn(name=ADVANCE)
    async def advance(self, request: AdvanceRequest) -> Advanced:
        """See `services.advancing`."""
        return await self._advancer.advance(request)
