"""Refusals are named facts: a code, a sentence that says what to do next, and the facts themselves."""

from typing import Any, ClassVar

from domain.sentences import Sentence


def problem(field: str, what: str, /, **words: Any) -> dict[str, str]:
    """What is wrong with a field. `words` fill the sentence."""
    return {"field": field, "problem": Sentence(what, **words) if words else what}


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
    def field(cls, field: str, what: str, /, **words: Any) -> "Invalid":
        return cls.fields([problem(field, what, **words)])

    @classmethod
    def fields(cls, errors: list[dict[str, str]], about: str = "", **facts: Any) -> "Invalid":
        """Of several fields, the sentence names the first; `about` says what they belong to."""
        named = [about, *errors[0].values()] if about else errors[0].values()
        return cls(": ".join(named), errors, **facts)


class CommandIdReused(Refusal):
    code = "idempotency_key_reused"

    def __init__(self) -> None:
        super().__init__("This was sent before with other content. Use a new Idempotency-Key, or open the page again.")


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

    def __init__(
        self,
        sentence: str = "The database did not answer. Try again; with the same Idempotency-Key nothing is done twice.",
    ) -> None:
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
