"""What every kind of run shares: commands, their outcomes, and what a workflow is told of its run.

A run is one durable workflow over one stored state. Its rules are a `StateMachine`, applied inside the database
transaction that stores the result (`services.runs.apply`). The workflow waits and is told (`Advanced`); it decides
nothing."""

import math
from collections.abc import Mapping
from datetime import datetime
from typing import Any, Generic, Protocol, Self, TypeVar

from pydantic import ConfigDict

from domain.sentences import Sentence
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


class Outcome(Value):
    """What came of a command: applied or refused, with a code, a sentence and the facts."""

    applied: bool
    code: str
    sentence: str = ""
    facts: dict[str, Any] = {}
    template: str = ""
    """Of a sentence in which `words` stand; it is stored, so that it can be read in every language later."""
    words: dict[str, str] = {}

    @property
    def reason(self) -> str:
        """The sentence as it can be translated."""
        return Sentence(self.template, **self.words) if self.template else self.sentence


def done(code: str, sentence: str = "", **facts: Any) -> Outcome:
    return Outcome(applied=True, code=code, sentence=sentence, facts=facts)


def refused(code: str, sentence: str, **facts: Any) -> Outcome:
    template, words = (sentence.template, sentence.words) if isinstance(sentence, Sentence) else ("", {})
    return Outcome(applied=False, code=code, sentence=sentence, facts=facts, template=template, words=words)


def text_of(value: object, longest: int = 4000) -> str:
    """A payload's text, cut to what is kept; empty for what is no text."""
    return value[:longest] if isinstance(value, str) else ""


def sent_digest(target: str, actor: str, verb: str, fields: Mapping[str, Any]) -> str:
    """What two commands of one id must agree in to be the same command: what the caller sent, nothing we derive."""
    return digest([target, actor, verb, dict(fields)])


PARKED = "parked"
"""The code of a command that its run keeps until it can answer: stored, and not answered yet."""


class RejectedByRecord(Exception):
    """A table forbids an act that the rules allowed; it is refused with this outcome."""

    def __init__(self, outcome: Outcome) -> None:
        super().__init__(outcome.sentence)
        self.outcome = outcome


class AppliedCommand(Value):
    """A command, what came of it, and when."""

    command: Command
    outcome: Outcome
    at: Instant


class RunState(Value):
    """What is known of any state: its number, its due instant, whether it still runs."""

    seq: int = 0
    due: Instant | None = None
    parked: tuple[Command, ...] = ()
    """Commands that wait until the state can answer them, in the order they came."""
    parked_until: Instant | None = None
    """When those are refused, should the state not be able to answer them by then."""
    unsettled: bool = False
    """The last act needs amounts out of tables (`domain.orders.settle`)."""

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

    def without_first_parked(self) -> tuple[Command, Self]:
        """The command that was parked first, and the state without it."""
        first, *others = self.parked
        update = {"parked": tuple(others), "parked_until": self.parked_until if others else None}
        return first, self.evolve(**update)

    @property
    def binding_due(self) -> Instant | None:
        """When time acts even on a command that comes later: a clock passed before it was received is applied first.

        A start date does not bind: whatever is received before the start was carried out wins."""
        return None

    def if_rejected(self, command: Command, outcome: Outcome, at: Instant) -> Self:
        """The state when a table refuses a command that the rules allowed."""
        return self

    def if_not_answered(self, command: Command, at: Instant) -> Self:
        """The state when a parked command is refused because nobody answered in time."""
        return self

    def stored(self) -> dict[str, Any]:
        """The state as JSON. Defaults are left out, so a default never changes."""
        return self.model_dump(mode="json", exclude_defaults=True)


S = TypeVar("S", bound=RunState)


class StateMachine(Protocol, Generic[S]):
    """The rules of one kind of run. `apply` is total: it never raises, whatever the command holds."""

    kind: str
    state: type[S]
    verbs: tuple[str, ...]

    def apply(self, state: S, command: Command, at: Instant) -> tuple[S, Outcome]: ...


def is_unchanged(before: RunState, after: RunState) -> bool:
    """Whether an act left the state as it was, but for the number it would have taken."""
    return after.evolve(seq=before.seq) == before


class Visible(Value):
    """The search attributes of a run: what its list in the Temporal UI can be filtered by."""

    status: str
    customer: str
    waiting_on: tuple[str, ...] = ()
    waiting_since: Instant | None = None
    due: Instant | None = None


# --- what workflows are given and told --------------------------------------------------------------------------------


class Told(Value):
    """What stands in histories for ever: fields that a later version does not know are passed over."""

    model_config = ConfigDict(extra="ignore")


class ReceivedSignal(Told):
    """A signal as it came: nothing of it is believed before `advance` has looked at it."""

    verb: str
    data: Any = None
    arrival: str
    """Tells apart two signals that carry no id."""

    @property
    def summary(self) -> str:
        """What it says of itself: `approve by ana`."""
        actor = self.data.get("actor") if isinstance(self.data, Mapping) else None
        return f"{self.verb} by {actor}"[:100] if isinstance(actor, str) else self.verb

    @property
    def names_a_command(self) -> bool:
        """Whether it is one of a front door's, which tell of a command that is stored already."""
        return isinstance(self.data, Mapping) and "id" in self.data and "payload" in self.data


class RunStart(Told):
    """The input of a run's workflow. Only the chain itself may say what it has seen: see `workflows.commanded`."""

    run: str
    title: str = ""
    number: int = -1
    mark: str = ""
    signals: list[ReceivedSignal] = []


class AdvanceRequest(Value):
    """What a workflow asks of the database: apply what is due, and say how its run stands."""

    run: str
    kind: str
    number: int = -1
    """The number of the last act the run was told of; -1 before the first answer."""
    mark: str = ""
    """The audit MAC of that act."""
    signals: list[ReceivedSignal] = []
    execution: str = ""
    """The execution's run id."""


class ToldCommand(Told):
    """One applied act in a history: a second copy of what was decided, sealed by a key that Temporal does not hold."""

    number: int
    at: Instant
    received: Instant
    command: Command
    applied: bool
    code: str
    verified: bool = True
    key: str = ""
    """The id of the key that sealed it."""
    mac: str = ""

    @property
    def sealed_part(self) -> str:
        """Everything it says, in one text."""
        return canonical(self.model_dump(mode="json", exclude={"mac", "key"}))


MOST_TOLD = 50
"""Acts in one answer to a workflow."""


class ErpMessage(Told):
    """A document that the run must send to the ERP next, and the wait in seconds before it does."""

    order: str
    version: int
    asked_at: Instant
    """When the order asked: what was refused is asked again in the same version."""
    wait: float = 0.0

    @property
    def key(self) -> tuple[int, Instant]:
        return self.version, self.asked_at


class Advanced(Told):
    """What a run shows and waits for, in words and instants: all that its workflow ever knows of it."""

    number: int
    mark: str = ""
    running: bool
    known: bool = True
    """False where the database has no such run of this kind: the workflow ends."""
    more: bool = False
    """There are further acts to be told."""
    due: Instant | None = None
    wait: float | None = None
    """Seconds until `due`, rounded up; nothing where time does not act on the run."""
    timer: str = ""
    """What the timer does, in words."""
    visible: Visible | None = None
    details: str = ""
    erp: ErpMessage | None = None
    acts: list[ToldCommand] = []


CLOCK = "clock"
"""The actor of a timer's act."""


def expiry(run: str, seq: int, due: Instant | None = None) -> Command:
    """The clock's own command: no signal may ask for it, and its id is the same however often it is retried.

    `due` is the clock that acts: of several that have passed, the earliest acts first."""
    payload = {"due": due.isoformat()} if due else {}
    return Command(id=f"{run}:expire:{seq + 1}", run=run, actor=CLOCK, verb="expire", payload=payload, channel="timer")


def clock_of(command: Command, at: Instant) -> Instant:
    """The instant whose clocks an expiry lets act."""
    due = command.payload.get("due")
    return datetime.fromisoformat(due) if isinstance(due, str) else at


def is_expiry(command: Command) -> bool:
    return command.verb == "expire" and command.channel == "timer"


CHANNELS = ("api", "console", "mail", "link", "chat", "cli")
"""The doors through which a command can be written down."""

NOT_A_FIELD = ("id", "actor", "on_behalf_of", "channel")


def read_command(run: str, verb: str, verbs: tuple[str, ...], data: Any, arrival: str) -> Command:
    """Whatever a signal carries becomes a command; what cannot be read becomes one that will be refused.

    `data` is decoded JSON. Front doors send `{id, actor, payload, …}`; people at the Temporal UI or CLI send their
    fields flat: `{"approval": …, "actor": …}`. `arrival` tells two such signals apart."""
    known = verb if verb in verbs else "unknown"
    if not isinstance(data, Mapping) or not _is_word(data.get("actor")) or not is_storable(data):
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


def is_storable(data: Any) -> bool:
    """Whether it is an object that Temporal and databases can carry and give back unchanged."""
    try:
        sound = isinstance(data, Mapping) and _sound(data, MAX_DEPTH)
        return sound and len(canonical(dict(data)).encode()) <= MAX_CHARACTERS
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
