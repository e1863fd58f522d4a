"""The activity behind every run's `record`."""

from temporalio import activity

from activities.contracts import RECORD, Proposal, Stored
from storage.record import Recorder


class Recording:
    def __init__(self, recorder: Recorder) -> None:
        self._recorder = recorder

    @activity.defn(name=RECORD)
    async def record(self, proposal: Proposal) -> Stored:
        """Store what a run decided, or say what is stored already: see `storage.record`.

        The answer stands in the run's history for ever, so it says only what the run does not know."""
        head = await self._recorder.record(proposal)
        return Stored(
            state=None if head.state == proposal.after else head.state,
            settled=None if head.settled == [act.settles for act in proposal.acts] else head.settled,
        )
