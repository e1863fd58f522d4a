"""Who decides for whom, on which day, and never in a circle."""

from datetime import UTC, date, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from domain.delegation import MAX_HOPS, Delegation, acts_for, circle, delegates_of

NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)


def away(person: str, delegate: str, first: int = 0, last: int | None = None, **fields: object) -> Delegation:
    """Days counted from the second of March."""
    day = date(2026, 3, 2)
    return Delegation(
        id=f"{person}-{delegate}", person=person, delegate=delegate, first=day + timedelta(first),
        last=None if last is None else day + timedelta(last), **fields,  # type: ignore[arg-type]
    )  # fmt: skip


def test_a_delegate_decides_from_the_first_to_the_last_day() -> None:
    found = [away("ana", "bo", 0, 1)]
    assert acts_for("bo", found, NOON, "quote") == ["ana"]
    assert acts_for("bo", found, NOON + timedelta(days=1), "quote") == ["ana"]
    assert acts_for("bo", found, NOON + timedelta(days=2), "quote") == []
    assert acts_for("bo", found, NOON - timedelta(days=1), "quote") == []


def test_days_are_counted_where_the_person_lives() -> None:
    """At 11:00 UTC it is already the third of March in Kiritimati and still the second in São Paulo."""
    at = NOON - timedelta(hours=1)
    assert acts_for("bo", [away("ana", "bo", 1, time_zone="Pacific/Kiritimati")], at, "quote") == ["ana"]
    assert acts_for("bo", [away("ana", "bo", 1, time_zone="America/Sao_Paulo")], at, "quote") == []


def test_only_its_kinds() -> None:
    found = [away("ana", "bo", kinds=("deal",))]
    assert acts_for("bo", found, NOON, "deal") == ["ana"]
    assert acts_for("bo", found, NOON, "quote") == []


def test_delegations_are_followed_nearest_first_and_at_most_five_hops() -> None:
    chain = [away(f"p{n}", f"p{n + 1}") for n in range(8)]
    assert acts_for("p8", chain, NOON, "quote") == [f"p{n}" for n in (7, 6, 5, 4, 3)]
    assert delegates_of("p0", chain, NOON, "quote") == [f"p{n}" for n in (1, 2, 3, 4, 5)]


def test_a_circle_is_found_only_where_days_and_kinds_meet() -> None:
    known = [away("ana", "bo", 0, 9), away("bo", "cy", 5, 9)]
    assert circle(away("cy", "ana", 7), known) == ["cy", "ana", "bo", "cy"]
    assert circle(away("cy", "ana", 0, 4), known) is None
    assert circle(away("cy", "ana", 10), known) is None
    assert circle(away("bo", "ana", 0, kinds=("deal",)), [away("ana", "bo", kinds=("quote",))]) is None


@given(st.lists(st.tuples(st.integers(0, 6), st.integers(0, 6)), max_size=30))
def test_saved_delegations_never_lead_back(pairs: list[tuple[int, int]]) -> None:
    saved: list[Delegation] = []
    for a, b in pairs:
        wanted = away(f"p{a}", f"p{b}")
        if a != b and circle(wanted, saved) is None:
            saved.append(wanted)
    for n in range(7):
        assert f"p{n}" not in acts_for(f"p{n}", saved, NOON, "quote")
        assert len(acts_for(f"p{n}", saved, NOON, "quote")) <= 6
    assert MAX_HOPS == 5
