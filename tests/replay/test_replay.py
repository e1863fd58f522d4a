"""Histories of every shape of round replay against this code: a deploy will not break a run that is alive."""

import pytest
from temporalio.client import WorkflowHistory

from cli.replay import replayer, stored_histories
from tests.conftest import ROOT
from tests.replay.make import SHAPES

STORED = stored_histories(ROOT / "tests" / "replay")


@pytest.mark.parametrize("history", STORED, ids=[h.workflow_id for h in STORED])
async def test_a_stored_history_replays(history: WorkflowHistory) -> None:
    await replayer().replay_workflow(history)


def test_every_shape_is_stored() -> None:
    stored = {history.workflow_id.split(":")[1].removeprefix("H-").removesuffix("-1") for history in STORED}
    assert set(SHAPES) <= stored
    assert sum(1 for history in STORED if "H-long" in history.workflow_id) > 1, "one that continued as new"


async def test_a_history_that_this_code_would_not_make_is_noticed() -> None:
    """The check itself can fail."""
    approved = next(h for h in STORED if "H-approved" in h.workflow_id)
    broken = WorkflowHistory.from_json(
        "x", approved.to_json().replace('"name": "record"', '"name": "other"').replace("local_activity", "other")
    )
    with pytest.raises(Exception, match=r".*"):
        await replayer().replay_workflow(broken)
