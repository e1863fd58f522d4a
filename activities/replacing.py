"""The activity of a run that puts one person in another's place."""

from temporalio import activity

from domain.runs.contracts import REPLACE, Replaced
from services.people.replacement_steps import ReplacementSteps


class Replacing:
    def __init__(self, steps: ReplacementSteps) -> None:
        self._steps = steps

    @activity.defn(name=REPLACE)
    async def step(self, id: str) -> Replaced:
        return await self._steps.step(id, activity.heartbeat)
