"""Policies: one draft per kind, and published versions that never change."""

from datetime import datetime
from functools import lru_cache
from typing import Any

from sqlalchemy import Row, bindparam, func
from sqlalchemy import select as core_select
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from domain.approvals.exchange import read_policy, write_policy
from domain.approvals.policy import Policy
from domain.values import Value
from storage.database import execute
from storage.tables import PolicyRow

DRAFT = 0
POLICIES = PolicyRow.__table__  # type: ignore[attr-defined]
NEWEST = (
    core_select(POLICIES)
    .where(POLICIES.c.kind == bindparam("of"), POLICIES.c.version > DRAFT)
    .order_by(POLICIES.c.version.desc())
    .limit(1)
)


class StoredPolicy(Value):
    policy: Policy
    version: int
    revision: int
    hash: str
    changed_at: datetime
    changed_by: str


@lru_cache(maxsize=64)
def _read(content: str) -> Policy:
    return read_policy(content)


def stored_of(row: PolicyRow | Row[Any]) -> StoredPolicy:
    return StoredPolicy(
        policy=_read(row.content),
        version=row.version,
        revision=row.revision,
        hash=row.hash,
        changed_at=row.changed_at,
        changed_by=row.changed_by,
    )


async def current(session: AsyncSession, kind: str) -> StoredPolicy | None:
    """The newest published version."""
    row = (await execute(session, NEWEST, {"of": kind})).first()
    return stored_of(row) if row else None


async def kinds(session: AsyncSession) -> list[str]:
    """The kinds that have a policy."""
    query = core_select(POLICIES.c.kind).distinct().order_by(POLICIES.c.kind)
    return list((await execute(session, query)).scalars())


async def current_version(session: AsyncSession, kind: str) -> int:
    """The number of the newest published version; 0 where there is none."""
    newest = core_select(func.max(POLICIES.c.version)).where(POLICIES.c.kind == kind)
    return (await execute(session, newest)).scalar_one() or DRAFT


async def published(session: AsyncSession, kind: str, version: int) -> StoredPolicy | None:
    row = await session.get(PolicyRow, (kind, version)) if version > DRAFT else None
    return stored_of(row) if row else None


async def draft(session: AsyncSession, kind: str) -> StoredPolicy | None:
    row = await session.get(PolicyRow, (kind, DRAFT), with_for_update=True)
    return stored_of(row) if row else None


async def versions(session: AsyncSession, kind: str, before: int, limit: int) -> list[StoredPolicy]:
    """Published versions, newest first, below `before`."""
    query = select(PolicyRow).where(PolicyRow.kind == kind, PolicyRow.version > DRAFT, PolicyRow.version < before)
    rows = (await session.exec(query.order_by(col(PolicyRow.version).desc()).limit(limit))).all()
    return [stored_of(row) for row in rows]


async def save_draft(session: AsyncSession, policy: Policy, by: str, at: datetime) -> StoredPolicy:
    row = await session.get(PolicyRow, (policy.kind, DRAFT))
    if row is None:
        row = PolicyRow(kind=policy.kind, version=DRAFT, content="", hash="", revision=0, changed_at=at, changed_by=by)
        session.add(row)
    row.content, row.hash, row.revision = write_policy(policy), policy.hash, row.revision + 1
    row.changed_at, row.changed_by = at, by
    return stored_of(row)


async def publish(session: AsyncSession, policy: Policy, version: int, by: str, at: datetime) -> StoredPolicy:
    row = PolicyRow(
        kind=policy.kind,
        version=version,
        content=write_policy(policy),
        hash=policy.hash,
        changed_at=at,
        changed_by=by,
    )
    session.add(row)
    return stored_of(row)
