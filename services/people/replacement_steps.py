"""Puts one person in another's place, a batch at a time. Every step may be repeated: what is done is found done."""

from datetime import datetime
from typing import Any

from sqlmodel import select
from sqlmodel.ext.asyncio.session import AsyncSession

from domain.approvals.replace import in_group, in_policy
from domain.audit import Entry, digest_of
from domain.delegation import Delegation, circle
from domain.runs.contracts import Replaced
from domain.values import Value, short_id
from services.clock import Heartbeat, no_heartbeat
from services.runs.commands import CommandPath, CommandRequest
from storage.approvals import delegations, policies
from storage.people import people, replacements
from storage.people.replacements import Replacement, command_prefix
from storage.runs import audit_log
from storage.tables import GroupRow, PolicyRow

BATCH = 50


class ReplacementSteps:
    def __init__(self, path: CommandPath, audit_key: bytes) -> None:
        self._path = path
        self._database = path.database
        self._clock = path.clock
        self._audit_key = audit_key

    async def step(self, id: str, heartbeat: Heartbeat = no_heartbeat) -> Replaced:
        """One step: what names the leaver first, then open approvals by the batch, until a pass finds none."""
        async with self._database.writing() as session:
            found = await replacements.load(session, id, lock=True)
            if found is None or found.status != "running":
                return Replaced(status=found.status if found else "finished")
            if not found.prepared:
                await self._prepare(session, found)
            open_ = await replacements.next_open(session, found, BATCH)
            progress = await replacements.count_sent(session, id)
            if not open_ and progress["sent"] == progress["answered"]:
                await replacements.change(session, id, status="finished", finished_at=self._clock())
                facts: dict[str, Any] = {**found.prepared, **progress}
                await self._note(session, found, f"user:{found.old}", "replaced", **facts)
                return Replaced(status="finished", **progress)
        for approval, run in open_:
            heartbeat()
            await self._path.execute(self._move(found, approval, run))
        async with self._database.reading() as session:
            progress = await replacements.count_sent(session, id)
        return Replaced(status="running", idle=not open_, **progress)

    async def _prepare(self, session: AsyncSession, found: Replacement) -> None:
        """Policies, groups and delegations, so that nothing new reaches the leaver while the rounds are moved."""
        now, counts = self._clock(), {"policies": 0, "groups": 0, "delegations": 0}
        for kind in (await session.exec(select(PolicyRow.kind).distinct())).all():
            current = await policies.current(session, kind)
            changed = in_policy(current.policy, found.old, found.new) if current else None
            if current and changed and changed != current.policy:
                await policies.publish(session, changed, current.version + 1, found.by, now)
                await self._note(session, found, f"policy:{kind}", "published", changed, version=current.version + 1)
                counts["policies"] += 1
        for row in (await session.exec(select(GroupRow))).all():
            group = people.group_of(row)
            if (moved := in_group(group, found.old, found.new)) != group:
                stored = moved.evolve(version=group.version + 1)
                await people.save_group(session, stored)
                await self._note(session, found, f"group:{group.id}", "edited", stored, old=found.old)
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
        new = old.evolve(id=short_id("d", found.id, old.id), delegate=found.new)
        others = [d for d in await delegations.standing(session, now) if d.id != old.id]
        if old.delegate == found.old and old.person != found.new and circle(new, others) is None:
            await delegations.add(session, new, found.by, now)

    def _move(self, found: Replacement, approval: str, run: str) -> CommandRequest:
        """The move of one approval; its id makes a second one the same."""
        fields = {"approval": approval, "from": found.old, "to": found.new, "authority": "approvals_admin"}
        return CommandRequest(
            id=f"{command_prefix(found.id)}{approval}",
            run=run,
            actor=found.by,
            verb="reassign",
            fields=fields,
            channel="console",
        )

    async def _note(
        self,
        session: AsyncSession,
        found: Replacement,
        subject: str,
        code: str,
        record: Value | None = None,
        **facts: Any,
    ) -> None:
        entry = Entry(
            subject=subject,
            seq=0,
            at=self._clock(),
            actor=found.by,
            verb="replace",
            channel="console",
            applied=True,
            code=code,
            state=digest_of(record) if record else "",
            facts={"by": found.new, **facts},
        )
        await audit_log.append(session, self._audit_key, [entry])
