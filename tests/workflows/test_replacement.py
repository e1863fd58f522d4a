"""Replacing a person while rounds are open, as a durable run: repeated, paused, and finished."""

from typing import Any

from services.people.replacement_steps import ReplacementSteps
from tests.workflows.conftest import Office
from tests.workflows.test_approval_round import until

COUNT = 30


async def opened(office: Office) -> list[str]:
    return [await office.submitted() for _ in range(COUNT)]


async def held(office: Office, runs: list[str], person: str) -> int:
    states = [await office.recorded(run) for run in runs]
    return sum(person in round.waiting_on for round in states)


async def test_a_replacement_moves_everything_once_however_often_a_step_is_taken(office: Office) -> None:
    runs = await opened(office)
    adam = await office.caller("adam")
    started = await office.container.replacements.start(adam, "dora", "lara")
    await ReplacementSteps(office.container.path, office.container.context.audit_key).step(
        started.id
    )  # as if the answer of a step had been lost

    async def finished() -> Any:
        progress = await office.container.replacements.get(adam.person, started.id)
        return progress if progress.replacement.status == "finished" else None

    progress = await until(finished, "the end of the replacement", tries=2400)
    assert (progress.sent, progress.answered, progress.refused) == (COUNT, COUNT, [])
    assert (await held(office, runs, "dora"), await held(office, runs, "lara")) == (0, COUNT)
    for run in runs:
        await office.follows(run)


async def test_a_paused_replacement_waits_and_says_so_in_the_engine(alone: Office) -> None:
    async with alone.worker():
        runs = [await alone.submitted()]
        adam = await alone.caller("adam")
        id = (await alone.container.replacements.start(adam, "dora", "lara")).id
        handle = alone.client.get_workflow_handle(f"replacement:{id}")
        assert (await alone.result(f"replacement:{id}"))["status"] == "finished"
        metadata = await handle.query("__temporal_workflow_metadata")
        assert "1 of 1 moves answered" in metadata.current_details
        second = await alone.container.replacements.start(adam, "lara", "olga")
        await alone.container.replacements.pause(adam, second.id)
        await alone.container.replacements.resume(adam, second.id)
        assert (await alone.result(f"replacement:{second.id}"))["status"] == "finished"
        assert await held(alone, runs, "olga") == 1
