"""Refusals are named facts: a code, a sentence that says what to do next, and the facts themselves."""

from typing import Any, ClassVar


class Refusal(Exception):
    """A request that changes nothing, and why. `code` names the reason; the front doors map it to their own words."""

    code: ClassVar[str] = "refused"

    def __init__(self, sentence: str, **facts: Any) -> None:
        super().__init__(sentence)
        self.sentence = sentence
        self.facts = facts


class NotFound(Refusal):
    code = "not_found"


class NotAllowed(Refusal):
    code = "not_allowed"


class NotSignedIn(Refusal):
    code = "not_signed_in"


class Invalid(Refusal):
    """The request cannot be read as what it should be. `errors` lists each `{field, problem}`."""

    code = "invalid"

    def __init__(self, sentence: str, errors: list[dict[str, str]] | None = None, **facts: Any) -> None:
        super().__init__(sentence, errors=errors or [], **facts)

    @classmethod
    def field(cls, field: str, problem: str) -> "Invalid":
        return cls(f"{field}: {problem}", [{"field": field, "problem": problem}])


class CommandIdReused(Refusal):
    code = "idempotency_key_reused"

    def __init__(self) -> None:
        super().__init__("This Idempotency-Key was used before for another request. Use a new one.")


class Stale(Refusal):
    """The caller saw an older version than the one stored."""

    code = "stale_version"


class VersionRequired(Refusal):
    code = "version_required"


class Locked(Refusal):
    """The subject cannot be changed in the state it is in."""

    code = "locked"


class Unresolved(Refusal):
    """A rule fired and nobody can be asked."""

    code = "unresolved_approver"


class Clash(Refusal):
    """Somebody did the same at the same moment."""

    code = "clash"


class Unavailable(Refusal):
    """Whether it was done is not known: asked again with the same id, it is done once."""

    code = "unavailable"

    def __init__(self, sentence: str = "The database did not answer. Try again with the same Idempotency-Key.") -> None:
        super().__init__(sentence, retry_after=1)


class ClosedForRestore(Refusal):
    """The database is an older copy than Temporal knows; nothing is stored until somebody has looked at it."""

    code = "closed_for_restore"

    def __init__(self) -> None:
        sentence = "An older copy of the database was restored. Ops must run `dealwright doctor --mend` first."
        super().__init__(sentence, retry_after=60)


class TooMany(Refusal):
    code = "too_many_requests"


class TooLarge(Refusal):
    code = "too_large"
