"""Policies: a draft anybody may break, published versions that nobody can."""

import asyncio
from datetime import date

from domain.approvals.check import problems
from domain.approvals.compare import Backtest, Effect, differences, effect
from domain.approvals.lint import warnings
from domain.approvals.policy import Policy
from domain.errors import Invalid, NotFound
from domain.money import known_currencies
from domain.people import Directory, Person
from domain.sentences import Sentence
from domain.values import number_of
from services.context import ServiceContext, authorise
from services.runs.commands import Caller
from services.versions import next_version
from storage.approvals import policies, rounds
from storage.approvals.policies import StoredPolicy
from storage.people import people


class Policies:
    def __init__(self, context: ServiceContext) -> None:
        self._context = context

    async def current(self, person: Person, kind: str) -> StoredPolicy:
        authorise(person, "policies.read")
        async with self._context.database.reading() as session:
            return _found(await policies.current(session, kind), kind)

    async def versions(self, person: Person, kind: str, before: int, limit: int) -> list[StoredPolicy]:
        authorise(person, "policies.read")
        async with self._context.database.reading() as session:
            return await policies.versions(session, kind, before, limit)

    async def draft(self, person: Person, kind: str) -> StoredPolicy:
        authorise(person, "policies.read")
        async with self._context.database.reading() as session:
            return _found(await policies.draft(session, kind), kind)

    async def put_draft(self, caller: Caller, policy: Policy, expected: int | None) -> StoredPolicy:
        """Replace the draft; `expected` is the revision the caller saw. A draft may still have problems."""
        authorise(caller.person, "policies.write")
        context = self._context
        async with context.database.writing() as session:
            known = await policies.draft(session, policy.kind)
            next_version(known.revision if known else None, expected)
            return await policies.save_draft(session, policy, caller.person.id, context.clock())

    async def publish(self, caller: Caller, kind: str) -> StoredPolicy:
        """Make the draft the next version, which every later submission is evaluated with. Raises Invalid."""
        authorise(caller.person, "policies.write")
        async with self._context.database.reading() as session:
            draft = _found(await policies.draft(session, kind), kind)
        return await self.publish_policy(caller, draft.policy)

    async def publish_policy(self, caller: Caller, policy: Policy) -> StoredPolicy:
        """Publish a policy as the next version; the same policy again stays the version it is."""
        authorise(caller.person, "policies.write")
        context = self._context
        if found := await self.check(policy):
            raise Invalid.fields(found, "the policy cannot be published")
        async with context.database.writing() as session:
            newest = await policies.current(session, policy.kind)
            if newest and newest.hash == policy.hash:
                return newest
            version = newest.version + 1 if newest else 1
            stored = await policies.publish(session, policy, version, caller.person.id, context.clock())
            facts = {"version": version, "hash": policy.hash}
            await context.audit(session, caller, f"policy:{policy.kind}", "published", policy.hash, policy, **facts)
        return stored

    async def set_rate(self, caller: Caller, currency: str, valid_from: date, rate: str) -> None:
        """An exchange rate from a day on; rounds that are open keep the rates they were evaluated with."""
        authorise(caller.person, "policies.write")
        value = number_of(rate)
        if value is None:
            raise Invalid.field("rate", "{rate!r} is not a number", rate=rate)
        if currency not in known_currencies():
            raise Invalid.field("currency", "{currency!r} is not an ISO 4217 currency code", currency=currency)
        if not 0 < value < 10**9:
            raise Invalid.field("rate", "must be more than 0 and less than 1,000,000,000")
        context = self._context
        async with context.database.writing() as session:
            await people.set_rate(session, currency, valid_from, value)
            await context.audit(
                session, caller, f"rate:{currency}", "rate_set", valid_from=str(valid_from), rate=str(value)
            )

    async def check(self, policy: Policy) -> list[dict[str, str]]:
        """Everything that forbids publishing the policy."""
        return problems(policy, await self._directory(policy))

    async def suspicious(self, policy: Policy) -> list[dict[str, str]]:
        """What may be published and yet deserves a second look."""
        return warnings(policy, await self._directory(policy), self._context.company_day())

    async def _directory(self, policy: Policy) -> Directory:
        named = [who for _, who in policy.people_named()]
        async with self._context.database.reading() as session:
            return await people.directory(
                session, {who.user for who in named if who.user}, {who.group for who in named if who.group}
            )

    async def changes(self, person: Person, kind: str) -> list[str]:
        """What the draft changes of the policy in force, in words."""
        draft = await self.draft(person, kind)
        async with self._context.database.reading() as session:
            current = await policies.current(session, kind)
        return differences(current.policy if current else Policy(kind=kind), draft.policy)

    async def backtest(self, person: Person, kind: str, most: int) -> tuple[Backtest, list[Effect]]:
        """What the draft would have asked of the newest submissions, against the policy in force.

        Each is judged as it was submitted and on its day. Totals are of all; listed are those that differ."""
        draft = (await self.draft(person, kind)).policy
        total, changed = Backtest(), []
        async with self._context.database.reading() as session:
            current = await policies.current(session, kind)
            async for subject, at in rounds.submissions(session, kind, most):
                found = effect(current.policy if current else None, draft, subject, "draft", at.date())
                total = total.plus(found)
                await asyncio.sleep(0)  # others are answered meanwhile
                if found.added or found.removed:
                    changed.append(found)
        return total, changed


def _found(stored: StoredPolicy | None, kind: str) -> StoredPolicy:
    if stored is None:
        raise NotFound(Sentence("There is no policy for {kind!r}.", kind=kind))
    return stored
