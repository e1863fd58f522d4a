"""Puts one person in another's place, a batch at a time. Every step may be repeated: what is done is found done."""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime

from sqlmodel import select
from sqlmodel.ext.asyncio.session import AsyncSession
from temporalio import activity
from temporalio.service import RPCError

from activities.contracts import REPLACE, Replaced
from activities.sending import Sender
from domain.approvals.replace import in_group, in_policy
from domain.audit import Entry
from domain.delegation import Delegation, circle
from domain.runs import Command, Head
from domain.values import short_id
from storage import delegations, people, policies, record, replacements, trail
from storage.database import Database
from storage.replacements import Replacement, command_prefix
from storage.tables import GroupRow, PolicyRow

BATCH, AT_ONCE = 50, 10


class Replacing:
    def __init__(self, database: Database, sender: Sender, clock: Callable[[], datetime], audit_key: bytes) -> None:
        self._database = database
        self._sender = sender
        self._clock = clock
        self._audit_key = audit_key

    @activity.defn(name=REPLACE)
    async def step(self, id: str) -> Replaced:
        """One step: what names the leaver first, then open approvals by the batch, until a pass finds none."""
        async with self._database.writing() as session:
            found = await replacements.load(session, id, lock=True)
            if found is None or found.status != "running":
                return Replaced(status=found.status if found else "finished")
            if not found.prepared:
                await self._prepare(session, found)
            open_ = await replacements.next_open(session, found, BATCH)
            moves = [await self._move(session, found, approval, run) for approval, run in open_]
            progress = await replacements.sent(session, id)
            if not moves and progress["sent"] == progress["answered"]:
                await replacements.change(session, id, status="finished", finished_at=self._clock())
                await self._note(session, found, "replaced", progress)
                return Replaced(status="finished", **progress)
        await self._send(moves)
        return Replaced(status="running", idle=not moves, **progress)

    async def _prepare(self, session: AsyncSession, found: Replacement) -> None:
        """Policies, groups and delegations, so that nothing new reaches the leaver while the rounds are moved."""
        now, counts = self._clock(), {"policies": 0, "groups": 0, "delegations": 0}
        for kind in (await session.exec(select(PolicyRow.kind).distinct())).all():
            current = await policies.current(session, kind)
            changed = in_policy(current.policy, found.old, found.new) if current else None
            if current and changed and changed != current.policy:
                await policies.publish(session, changed, current.version + 1, found.by, now)
                counts["policies"] += 1
        for row in (await session.exec(select(GroupRow))).all():
            group = people.group_of(row)
            if (moved := in_group(group, found.old, found.new)) != group:
                await people.save_group(session, moved.model_copy(update={"version": group.version + 1}))
                counts["groups"] += 1
        for delegation in await delegations.standing(session, now):
            if found.old in (delegation.person, delegation.delegate):
                await self._hand_on(session, found, delegation, now)
                counts["delegations"] += 1
        total = (await replacements.places(session, found.old, now)).approvals
        await replacements.change(session, found.id, prepared=counts, total=total)

    async def _hand_on(self, session: AsyncSession, found: Replacement, old: Delegation, now: datetime) -> None:
        """What the leaver gave ends; what they were given goes to who follows them, unless that led in a circle."""
        await delegations.end(session, old.id, now)
        new = old.model_copy(update={"id": short_id("d", found.id, old.id), "delegate": found.new})
        others = [d for d in await delegations.standing(session, now) if d.id != old.id]
        if old.delegate == found.old and old.person != found.new and circle(new, others) is None:
            await delegations.add(session, new, found.by, now)

    async def _move(self, session: AsyncSession, found: Replacement, approval: str, run: str) -> tuple[Command, Head]:
        """Write down the move of one approval; its id makes a second one the same."""
        payload = {"approval": approval, "from": found.old, "to": found.new, "authority": "approvals_admin"}
        command = Command(
            id=f"{command_prefix(found.id)}{approval}", run=run, actor=found.by, verb="reassign", payload=payload,
            channel="console",
        )  # fmt: skip
        head = await record.head(session, run)
        if head is None:
            raise LookupError(run)
        await record.write_down(session, command, self._clock())
        return command, head

    async def _send(self, moves: list[tuple[Command, Head]]) -> None:
        """With the engine away they stay written down, and the sweeper sends them."""
        turn = asyncio.Semaphore(AT_ONCE)

        async def one(command: Command, head: Head) -> None:
            async with turn:
                with suppress(RPCError, RuntimeError, OSError):
                    await self._sender.send(command, head)

        await asyncio.gather(*(one(command, head) for command, head in moves))

    async def _note(self, session: AsyncSession, found: Replacement, code: str, facts: dict[str, int]) -> None:
        entry = Entry(
            subject=f"user:{found.old}", seq=0, at=self._clock(), actor=found.by, verb="replace", channel="console",
            applied=True, code=code, facts={"by": found.new, **found.prepared, **facts},
        )  # fmt: skip
        await trail.append(session, self._audit_key, [entry])
