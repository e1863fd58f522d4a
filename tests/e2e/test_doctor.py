"""Copies that are older than what they stand beside: every difference is named and mended."""

import asyncio
import shutil
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from cli.dev import Ports, Stack
from cli.doctor import Doctor, Finding
from storage.runs import heartbeats
from tests.conftest import Live, container_of, installed
from tests.databases import Postgres
from tests.e2e.conftest import LIMITS, Player, prepared, until
from tests.support import a_line, a_quote

pytestmark = pytest.mark.e2e
ROUNDS = 6
CHECK_SECONDS = 2
COMPARED_EVERY, FORGOTTEN_AFTER = CHECK_SECONDS + 2, 4 * CHECK_SECONDS + 3
"""Seconds, a little more than the sweep takes."""


class Hospital:
    """A stack of its own whose database or Temporal can be put back to an older copy."""

    def __init__(self, stack: Stack) -> None:
        self.stack = stack
        self.live = Live(stack, container_of(stack))
        self.player = Player(self.live)

    async def stopped(self) -> None:
        await self.live.container.close()
        await asyncio.to_thread(self.stack.stop)

    async def started(self) -> None:
        await asyncio.to_thread(self.stack.revive)
        await asyncio.to_thread(self.stack.wait_ready)
        self.live.container = container_of(self.stack)

    async def dealwright(self, *arguments: str, expect: int = 0) -> str:
        """A command as ops type it."""
        command = [str(Path(sys.executable).parent / "dealwright"), *arguments]
        done = await asyncio.to_thread(
            subprocess.run, command, env=self.stack.environment(), capture_output=True, text=True, check=False
        )
        assert done.returncode == expect, done.stdout + done.stderr
        return done.stdout + done.stderr

    async def copy_temporal(self, aside: Path) -> None:
        await self.stopped()
        self._copy(self.stack.home, aside)
        await self.started()

    async def put_temporal_back(self, aside: Path) -> None:
        await self.stopped()
        self.drop_temporal()
        self._copy(aside, self.stack.home)
        await self.started()

    @staticmethod
    def _copy(source: Path, target: Path) -> None:
        for file in source.glob("temporal.db*"):
            shutil.copy(file, target / file.name)

    def drop_temporal(self) -> None:
        for file in self.stack.home.glob("temporal.db*"):
            file.unlink()

    async def doctor(self) -> Doctor:
        return Doctor(self.live.container, await self.live.container.temporal.client(lazy=False))

    async def seen(self) -> list[Finding]:
        return await (await self.doctor()).examine()

    async def healthy(self) -> None:
        async def agree() -> bool:
            return not await self.seen()

        await until(agree, "health", seconds=120)

    async def mended(self) -> list[str]:
        """What was taken out of histories. Nothing differs afterwards."""
        found = await self.seen()
        recovered = await (await self.doctor()).mend(found)
        await self.healthy()
        return sorted(f"{act.command.run} {act.command.verb} by {act.command.actor}" for act in recovered)

    async def status(self, id: str) -> str:
        return str((await self.live.call("rita", "GET", f"/v1/quotes/{id}")).json()["status"])

    async def an_order(self) -> str:
        """Waiting for somebody to say that it goes live."""
        body = a_quote("D-1", lines=[a_line(quantity="4", list_price="1")]).model_dump(mode="json")
        call = self.live.call
        for method, path, told in (
            ("PUT", "/v1/quotes/D-1", body), ("POST", "/v1/quotes/D-1/submit", None),
        ):  # fmt: skip
            assert (await call("rita", method, path, json=told)).is_success
        await self.player.surely("dora", f"/v1/approvals/{(await self.player.approvals('D-1'))[1]['first']}/approve", "d1",
                                 {"digest": (await self.player.approvals("D-1"))[0]})  # fmt: skip
        await self.player.surely("fabio", f"/v1/approvals/{(await self.player.approvals('D-1'))[1]['second']}/approve",
                                 "d2", {"digest": (await self.player.approvals("D-1"))[0]})  # fmt: skip
        assert (await call("rita", "POST", "/v1/quotes/D-1/accept", json={"on": "2026-01-02"})).is_success
        way = {"way": "whole", "slot": {"trigger": {"start": "manual"}}}
        return str((await call("rita", "POST", "/v1/quotes/D-1/orders", json=way)).json()["orders"][0]["id"])

    async def approve(self, id: str, who: str, rule: str) -> None:
        digest, approvals = await self.player.approvals(id)
        assert (
            await self.player.surely(who, f"/v1/approvals/{approvals[rule]}/approve", f"{who}-{id}", {"digest": digest})
            == 200
        )


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
async def hospital(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, pg: Postgres | None
) -> AsyncIterator[Hospital]:
    server = installed(pg) if request.param == "postgresql" else None
    home = tmp_path_factory.mktemp("hospital") / "home"
    settings = {**LIMITS, "DEALWRIGHT_RESTORE_CHECK_SECONDS": str(CHECK_SECONDS)}
    stack = Stack(home, Ports.free(), server.fresh() if server else "", settings=settings)
    started = stack.running()
    await asyncio.to_thread(started.__enter__)
    made = Hospital(stack)
    try:
        await prepared(made.live.container)
        yield made
    finally:
        await made.live.container.close()
        await asyncio.to_thread(started.__exit__, None, None, None)


async def test_a_database_put_back_to_an_older_copy_is_closed_and_given_what_histories_remember(
    hospital: Hospital, tmp_path: Path
) -> None:
    """Nothing is stored over the older copy; what was decided after it is applied again, under its own seal."""
    for n in range(ROUNDS):
        assert await hospital.player.submit(f"R-{n}") == 200
    order = await hospital.an_order()
    await hospital.healthy()
    backup = tmp_path / "company.backup"
    assert "bytes of" in await hospital.dealwright("backup", str(backup))
    assert "is there already" in await hospital.dealwright("backup", str(backup), expect=1)
    for n in range(3):
        await hospital.approve(f"R-{n}", "dora", "first")
    await hospital.approve("R-0", "fabio", "second")
    assert await hospital.player.surely("dina", f"/v1/orders/{order}/hold", "hold", {"reason": "credit"}) == 200
    assert await hospital.player.submit("R-new") == 200
    await hospital.healthy()
    await asyncio.sleep(COMPARED_EVERY)  # Temporal was told how far the database was
    assert "still run" in await hospital.dealwright("restore", str(backup), expect=1)
    await hospital.stopped()
    await asyncio.sleep(heartbeats.FRESH_FOR.total_seconds())
    cut = tmp_path / "cut.backup"
    cut.write_bytes(backup.read_bytes()[:-100])
    shutil.copy(f"{backup}.json", f"{cut}.json")
    assert "cut off" in await hospital.dealwright("restore", str(cut), expect=1)
    assert "is in place" in await hospital.dealwright("restore", str(backup))
    await hospital.started()

    async def closed() -> bool:
        _, approvals = await hospital.player.approvals("R-5")
        path, body = f"/v1/approvals/{approvals['first']}/advise", {"answer": "is it closed?"}
        return (await hospital.live.call("dora", "POST", path, json=body)).status_code == 503

    await until(closed, "the refusal of everything", seconds=60)
    assert await hospital.status("R-0") == "in_approval"
    found = {(finding.of, finding.kind) for finding in await hospital.seen()}
    assert found == {
        *((f"quote:R-{n}:approval:1", "database_behind") for n in range(3)),
        (f"order:{order}", "database_behind"), ("quote:R-new:approval:1", "orphan"), ("database", "closed"),
    }  # fmt: skip
    assert await hospital.mended() == [
        f"order:{order} hold by dina", "quote:R-0:approval:1 approve by dora", "quote:R-0:approval:1 approve by fabio",
        "quote:R-1:approval:1 approve by dora", "quote:R-2:approval:1 approve by dora",
    ]  # fmt: skip
    assert await hospital.status("R-0") == "approved"
    held = (await hospital.live.call("dina", "GET", f"/v1/orders/{order}")).json()
    assert (held["status"], held["order"]["holds"][0]["reason"]) == ("held", "credit")
    trail = (await hospital.live.call("rita", "GET", "/v1/quotes/R-0/audit")).json()["items"]
    assert [entry["verified"] for entry in trail if entry["verb"] == "approve"] == [True, True]
    await hospital.approve("R-1", "fabio", "second")
    assert await hospital.status("R-1") == "approved"


async def test_temporal_put_back_to_an_older_copy_follows_by_itself(hospital: Hospital, tmp_path: Path) -> None:
    await hospital.copy_temporal(tmp_path)
    await asyncio.sleep(FORGOTTEN_AFTER)
    for n in range(3, ROUNDS):
        await hospital.approve(f"R-{n}", "dora", "first")
    await hospital.approve("R-3", "fabio", "second")
    assert await hospital.player.submit("R-late") == 200
    await hospital.approve("R-late", "dora", "first")
    await hospital.put_temporal_back(tmp_path)
    await hospital.healthy()
    assert await hospital.status("R-3") == "approved"
    await hospital.approve("R-late", "fabio", "second")
    assert await hospital.status("R-late") == "approved"


async def test_a_temporal_that_lost_everything_is_filled_from_the_database(hospital: Hospital) -> None:
    await hospital.stopped()
    hospital.drop_temporal()
    await hospital.started()
    await hospital.healthy()
    await hospital.approve("R-4", "fabio", "second")
    assert await hospital.status("R-4") == "approved"


async def test_the_doctor_starts_at_once_what_temporal_lost(hospital: Hospital) -> None:
    await hospital.healthy()
    client = await hospital.live.container.temporal.client(lazy=False)
    await client.get_workflow_handle("quote:R-5:approval:1").terminate("by hand")
    assert {(f.of, f.kind) for f in await hospital.seen()} == {("quote:R-5:approval:1", "engine_lost")}
    assert await hospital.mended() == []
