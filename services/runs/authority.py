"""Who may give a command, looked up under the lock of the run it is for."""

from datetime import datetime

from sqlmodel.ext.asyncio.session import AsyncSession

from domain.approvals.round import ApprovalStatus, Round
from domain.delegation import acts_for
from domain.errors import NotAllowed
from domain.people import Person, Role
from domain.permissions import BY_RECORD_ONLY, VERB_ACTS
from domain.runs import Command
from services.context import authorise
from services.runs.commands import CommandRequest
from storage.approvals import delegations
from storage.people import people
from storage.runs.runs import RunSnapshot

FOR_OTHERS = ("approve", "reject", "delegate", "consult", "add_approver", "remove_approver")
"""What one may do for somebody who is away."""


async def current_person(session: AsyncSession, id: str) -> Person:
    """The person as they are now. Raises NotAllowed when they have left."""
    person = await people.load_person(session, id)
    if person is None or not person.active:
        raise NotAllowed("You are not an active user any more.")
    return person


async def authorise_decision(session: AsyncSession, run: RunSnapshot, request: CommandRequest, at: datetime) -> Command:
    """The command about one approval, with the person it is given for. Raises NotAllowed."""
    person = await current_person(session, request.actor)
    authorise(person, VERB_ACTS[request.verb])
    behalf = None
    if request.verb in FOR_OTHERS:
        behalf = await _on_behalf_of(session, run, request.actor, request.fields.get("approval"), at)
    return request.command(run.id, behalf)


async def _on_behalf_of(
    session: AsyncSession, run: RunSnapshot, actor: str, approval: object, at: datetime
) -> str | None:
    """Whom the actor decides for: nobody when it is theirs, else the nearest who is asked and away."""
    round = Round.model_validate(run.state)
    asked = round.approval(approval)
    holders = asked.holders if asked and asked.status is ApprovalStatus.REQUESTED else []
    if actor in holders or not holders:
        return None
    away = acts_for(actor, await delegations.standing(session, at), at, round.subject_kind)
    return next((person for person in away if person in holders), None)


async def authorise_unverified(session: AsyncSession, command: Command) -> None:
    """In development a name alone may command, if it holds the role at least. Raises NotAllowed."""
    person = await current_person(session, command.actor)
    act = None if command.verb in BY_RECORD_ONLY else VERB_ACTS.get(command.verb)
    if act is None or command.on_behalf_of is not None:
        raise NotAllowed("A signal cannot ask for this.")
    authorise(person, act)
    if command.payload.get("authority") is not None and not person.has(Role.APPROVALS_ADMIN):
        raise NotAllowed("Only an approvals admin may do this.")
