"""What every kind of run shares: commands, their outcomes, and what a workflow asks the record to store.

A run is one durable workflow over one state. Its rules are a `Machine`; the command path around it
(service, signal, record, sweeper) knows nothing of what the state means."""

import math
from collections.abc import Iterable, Mapping
from typing import Any, Generic, Protocol, Self, TypeVar

from pydantic import ConfigDict

from domain.values import Instant, Value, canonical, digest, short_id


class Command(Value):
    """One act somebody asks of a run. `id` is unique for ever: sent twice, it takes effect once."""

    id: str
    run: str
    actor: str
    verb: str
    payload: dict[str, Any] = {}
    on_behalf_of: str | None = None
    channel: str = "api"

    @property
    def body(self) -> str:
        """What must agree for two commands of one id to be the same command."""
        return digest([self.run, self.actor, self.on_behalf_of, self.verb, self.payload])

    @property
    def key(self) -> str:
        """A forgery under a genuine id has another body, hence another key, and cannot displace it."""
        return f"{self.id}|{self.body[:16]}"


class Outcome(Value):
    """What came of a command: applied or refused, with a code, a sentence and the facts."""

    applied: bool
    code: str
    sentence: str = ""
    facts: dict[str, Any] = {}


def done(code: str, sentence: str = "", **facts: Any) -> Outcome:
    return Outcome(applied=True, code=code, sentence=sentence, facts=facts)


def refused(code: str, sentence: str, **facts: Any) -> Outcome:
    return Outcome(applied=False, code=code, sentence=sentence, facts=facts)


def text_of(value: object, longest: int = 4000) -> str:
    """A payload's text, cut to what is kept; empty for what is no text."""
    return value[:longest] if isinstance(value, str) else ""


PARKED = "parked"
"""The code of a command that its run keeps until it can answer: recorded, and not answered yet."""


class CannotSettle(Exception):
    """The record knows a fact that forbids an act the rules allowed; it is refused with this outcome."""

    def __init__(self, outcome: Outcome) -> None:
        super().__init__(outcome.sentence)
        self.outcome = outcome


class Act(Value):
    """A command, what came of it, and when."""

    command: Command
    outcome: Outcome
    at: Instant
    key: str = ""
    """The command's name in the inbox it came from, given back once it needs no more work."""

    @property
    def settles(self) -> str:
        return self.key or self.command.key


class RunState(Value):
    """What a machine needs to know about any state: its number, its due instant, whether it still runs."""

    seq: int = 0
    due: Instant | None = None
    parked: tuple[Command, ...] = ()
    """Commands that wait until the state can answer them, in the order they came."""
    unsettled: bool = False
    """The last act needs the record's word: nothing more is applied before it is given."""

    @property
    def running(self) -> bool:
        raise NotImplementedError

    @property
    def busy(self) -> bool:
        """Whether what is parked must go on waiting."""
        return False

    @property
    def ready(self) -> bool:
        """Whether something parked can be answered now."""
        return bool(self.parked) and not self.busy

    def if_refused(self, at: Instant) -> Self:
        """How it stands when the record refuses the act that time itself wanted."""
        return self

    def stored(self) -> dict[str, Any]:
        """The state as JSON, in the record and in every history. Defaults are left out, so a default never changes."""
        return self.model_dump(mode="json", exclude_defaults=True)


S = TypeVar("S", bound=RunState)


class Machine(Protocol, Generic[S]):
    """The rules of one kind of run. `apply` is total: it never raises, whatever the command holds."""

    kind: str
    state: type[S]
    verbs: tuple[str, ...]

    def apply(self, state: S, command: Command, at: Instant) -> tuple[S, Outcome]: ...


class Head(Value):
    """The state of a run as recorded: how a workflow starts, and what it adopts after each record."""

    run: str
    kind: str
    state: dict[str, Any]
    settled: list[str] = []
    """Keys of the proposed commands that need no more work."""
    first: Command | None = None
    """A command to begin with, where whoever starts the run need not signal it."""


class Stored(Value):
    """What the record answers to a proposal; nothing said means: stored as it was proposed."""

    model_config = ConfigDict(extra="ignore")  # histories hold longer answers, of the time before this was left out

    state: dict[str, Any] | None = None
    settled: list[str] | None = None
    """Keys of the proposed commands that need no more work; None for all of them."""


class Proposal(Value):
    """What a workflow asks to record: `acts` lead from the state at sequence number `base` to `after`."""

    run: str
    kind: str
    base: int
    acts: list[Act]
    after: dict[str, Any]
    otherwise: dict[str, Any] | None = None
    """How it stands should the record not be able to settle the last act."""


def advance(
    machine: Machine[S], state: S, inbox: Iterable[tuple[str, Command]], at: Instant
) -> tuple[S, list[Act], S | None]:
    """What is parked and can be answered, then the inbox, applied in order until an act needs the record's word.

    Returns the state after, the acts, and how it stands should the record refuse the last of them."""
    acts: list[Act] = []
    waiting = dict(inbox)
    while True:
        if state.ready:
            command, key = state.parked[0], state.parked[0].key
            waiting.pop(key, None)  # it was sent again meanwhile
            state = state.model_copy(update={"parked": state.parked[1:]})
        elif waiting:
            key = next(iter(waiting))
            command = waiting.pop(key)
        else:
            return state, acts, None
        before = state
        state, outcome = machine.apply(state, command, at)
        acts.append(Act(command=command, outcome=outcome, at=at, key=key))
        if state.unsettled:
            stands = before.if_refused(at) if is_expiry(command) else before
            return state, acts, stands.model_copy(update={"seq": state.seq})


class Visible(Value):
    """The search attributes of a run: what its list in the Temporal UI can be filtered by."""

    status: str
    customer: str
    waiting_on: tuple[str, ...] = ()
    waiting_since: Instant | None = None
    due: Instant | None = None


def record_summary(verbs: list[tuple[str, str]]) -> str:
    """What one record stores: `approve by ana`."""
    return ", ".join(f"{verb} by {actor or 'unknown'}" for verb, actor in verbs)[:200]


CLOCK = "clock"
"""The actor of a timer's act."""


def expiry(run: str, seq: int) -> Command:
    """The timer's own command: no signal may ask for it, and its id is the same however often it is retried."""
    return Command(id=f"{run}:expire:{seq + 1}", run=run, actor=CLOCK, verb="expire", channel="timer")


def is_expiry(command: Command) -> bool:
    return command.verb == "expire" and command.channel == "timer"


CHANNELS = ("api", "console", "mail", "link", "chat", "cli")
"""The doors through which a command can be written down."""

NOT_A_FIELD = ("id", "actor", "on_behalf_of", "channel")


def read_command(run: str, verb: str, verbs: tuple[str, ...], data: Any, arrival: int) -> Command:
    """Whatever a signal carries becomes a command; what cannot be read becomes one that will be refused.

    `data` is decoded JSON. Front doors send `{id, actor, payload, …}`; people at the Temporal UI or CLI send their
    fields flat: `{"approval": …, "actor": …}`. `arrival` tells two such signals apart."""
    known = verb if verb in verbs else "unknown"
    if not isinstance(data, Mapping) or not _is_word(data.get("actor")) or not _storable(data):
        return Command(id=short_id("malformed", run, verb, arrival), run=run, actor="", verb=known, channel="signal")
    payload, id, behalf, channel = (data.get(name) for name in ("payload", "id", "on_behalf_of", "channel"))
    return Command(
        id=id if isinstance(id, str) and _is_word(id) else short_id("signal", run, verb, arrival),
        run=run,
        actor=data["actor"],
        verb=known,
        payload=payload if isinstance(payload, dict) else {k: v for k, v in data.items() if k not in NOT_A_FIELD},
        on_behalf_of=behalf if isinstance(behalf, str) and _is_word(behalf) else None,
        channel=channel if isinstance(channel, str) and channel in CHANNELS else "signal",
    )


def _is_word(value: object) -> bool:
    return isinstance(value, str) and 0 < len(value) <= 64 and value.isprintable()


MAX_DEPTH, MAX_CHARACTERS = 20, 64_000


def _storable(data: Mapping[str, Any]) -> bool:
    """Whether engine and databases can carry it and give it back unchanged."""
    try:
        return _sound(data, MAX_DEPTH) and len(canonical(dict(data)).encode()) <= MAX_CHARACTERS
    except (TypeError, ValueError):
        return False


def _sound(value: Any, depth: int) -> bool:
    if isinstance(value, str):
        return "\x00" not in value
    if isinstance(value, float):
        return math.isfinite(value)
    if isinstance(value, Mapping):
        return depth > 0 and all(
            isinstance(k, str) and "\x00" not in k and _sound(v, depth - 1) for k, v in value.items()
        )
    if isinstance(value, list):
        return depth > 0 and all(_sound(item, depth - 1) for item in value)
    return value is None or isinstance(value, bool | int)
