"""Policies over HTTP: YAML in, YAML out, inside JSON."""

from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Query, Response
from pydantic import BaseModel, Field

from api.problems import answers
from api.requests import ContainerDep, IfMatch, Limit, Page, PathId, RequestBody, needs, needs_caller, set_etag
from domain.approvals.compare import Backtest, Effect
from domain.approvals.exchange import MAX_BYTES, read_policy, write_policy
from domain.errors import Invalid
from domain.people import Person
from services.runs.commands import Caller
from storage.approvals.policies import StoredPolicy

router = APIRouter(prefix="/v1/policies", tags=["policies"])
Reader = Annotated[Person, needs("policies.read")]
Writer = Annotated[Caller, needs_caller("policies.write")]


class PolicyIn(RequestBody):
    yaml: Annotated[str, Field(max_length=MAX_BYTES)]


class PolicyOut(BaseModel):
    kind: str
    version: int
    revision: int
    hash: str
    yaml: str
    changed_at: datetime
    changed_by: str


class Finding(BaseModel):
    field: str
    problem: str


def shown(stored: StoredPolicy) -> PolicyOut:
    return PolicyOut(
        kind=stored.policy.kind,
        version=stored.version,
        revision=stored.revision,
        hash=stored.hash,
        yaml=write_policy(stored.policy),
        changed_at=stored.changed_at,
        changed_by=stored.changed_by,
    )


@router.get("/{kind}", responses=answers(401, 403, 404, 422))
async def current(container: ContainerDep, person: Reader, kind: PathId) -> PolicyOut:
    """The version that submissions are evaluated with."""
    return shown(await container.policies.current(person, kind))


@router.get("/{kind}/draft", responses=answers(401, 403, 404, 422))
async def draft(container: ContainerDep, person: Reader, kind: PathId, response: Response) -> PolicyOut:
    stored = await container.policies.draft(person, kind)
    set_etag(response, stored.revision)
    return shown(stored)


@router.put("/{kind}/draft", responses=answers(401, 403, 412, 422, 428))
async def put_draft(
    container: ContainerDep, caller: Writer, kind: PathId, body: PolicyIn, expected: IfMatch, response: Response
) -> PolicyOut:
    """Replace the draft. It may still have problems; publishing it may not."""
    policy = read_policy(body.yaml)
    if policy.kind != kind:
        raise Invalid.field("kind", "is not the kind in the address")
    stored = await container.policies.put_draft(caller, policy, expected)
    set_etag(response, stored.revision)
    return shown(stored)


@router.post("/{kind}/lint", responses=answers(401, 403, 404, 422))
async def lint(container: ContainerDep, person: Reader, kind: PathId) -> list[Finding]:
    """What forbids publishing the draft; empty when nothing does."""
    stored = await container.policies.draft(person, kind)
    return [Finding(**p) for p in await container.policies.check(stored.policy)]


@router.get("/{kind}/warnings", responses=answers(401, 403, 404, 422))
async def suspicious(container: ContainerDep, person: Reader, kind: PathId) -> list[Finding]:
    """What the draft may keep, and yet deserves a second look."""
    stored = await container.policies.draft(person, kind)
    return [Finding(**p) for p in await container.policies.suspicious(stored.policy)]


@router.get("/{kind}/diff", responses=answers(401, 403, 404, 422))
async def diff(container: ContainerDep, person: Reader, kind: PathId) -> list[str]:
    """What the draft changes of the policy in force, in words."""
    return await container.policies.changes(person, kind)


class BacktestOut(BaseModel):
    """Totals over all submissions looked at, and those for which the draft asks other approvals."""

    totals: Backtest
    changed: list[Effect]


@router.get("/{kind}/backtest", responses=answers(401, 403, 404, 422))
async def backtest(
    container: ContainerDep, person: Reader, kind: PathId, most: Annotated[int, Query(ge=1, le=2000)] = 500
) -> BacktestOut:
    """What the draft would have asked of the newest submissions."""
    totals, changed = await container.policies.backtest(person, kind, most)
    return BacktestOut(totals=totals, changed=changed)


@router.post("/{kind}/publish", responses=answers(401, 403, 404, 422))
async def publish(container: ContainerDep, caller: Writer, kind: PathId) -> PolicyOut:
    """Make the draft the next version. Rounds that run keep the version they were opened with."""
    return shown(await container.policies.publish(caller, kind))


@router.get("/{kind}/versions", responses=answers(401, 403, 422))
async def versions(
    container: ContainerDep,
    person: Reader,
    kind: PathId,
    limit: Limit = 20,
    cursor: Annotated[int, Query(ge=1, le=10**9)] = 10**9,
) -> Page[PolicyOut]:
    """Published versions, newest first."""
    found = await container.policies.versions(person, kind, cursor, limit + 1)
    items = [shown(stored) for stored in found[:limit]]
    return Page(items=items, next_cursor=str(items[-1].version) if len(found) > limit else None)
