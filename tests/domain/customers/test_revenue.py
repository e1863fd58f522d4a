"""What is earned when: exact to the minor unit, closed months for ever, and every cent by a fact."""

from datetime import date, timedelta
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.customers.facts import Fact, Kind, Terms
from domain.customers.revenue import Entry, Key, check_closing, entries, month_of
from domain.errors import Invalid, Locked
from domain.quotes import Billing, Milestone, Recognition
from tests.domain.customers.makers import A_YEAR, GOODS, a_fact, day, delivered, ordered, subscribed

STEPS = (Milestone(name="design", percent=Decimal(30)), Milestone(name="live", percent=Decimal(70)))
A_PROJECT = Terms(recognition=Recognition.MILESTONE, billing=Billing.ONE_TIME, goods=False, milestones=STEPS)
TO_ACCEPT = GOODS.model_copy(update={"acceptance_days": 30})


class Books:
    """Facts of one line as they come, booked one after the other; months that are closed meanwhile."""

    def __init__(self) -> None:
        self.facts: list[Fact] = []
        self.entries: list[Entry] = []
        self.closed: date | None = None

    def know(self, *facts: Fact) -> list[Entry]:
        new: list[Entry] = []
        for fact in facts:
            self.facts.append(fact)
            booked: dict[Key, Decimal] = {}
            for e in self.entries:
                key = Key(e.kind, e.fact, e.earned_in)
                booked[key] = booked.get(key, Decimal(0)) + e.amount
            fresh = entries(self.facts, booked, self.closed)
            self.entries += fresh
            new += fresh
        return new

    def of(self, kind: str, through: str = "9999-01") -> Decimal:
        last = day(f"{through}-01")
        return sum((e.amount for e in self.entries if e.kind == kind and e.month <= last), Decimal(0))

    def months(self, kind: str = "earned") -> dict[str, Decimal]:
        found: dict[str, Decimal] = {}
        for e in self.entries:
            if e.kind == kind:
                found[f"{e.month:%Y-%m}"] = found.get(f"{e.month:%Y-%m}", Decimal(0)) + e.amount
        return found


def test_goods_are_earned_as_they_arrive_and_all_of_it_with_the_last() -> None:
    books = Books()
    books.know(ordered("2026-01-10", "3", "100"), delivered("2026-01-20", "1"), delivered("2026-03-02", "2"))
    assert books.months() == {"2026-01": Decimal("33.33"), "2026-03": Decimal("66.67")}
    assert books.of("price", "2026-01") - books.of("earned", "2026-01") == Decimal("66.67")


def test_a_service_is_earned_by_the_day_of_its_term() -> None:
    books = Books()
    books.know(subscribed("2026-01-15", "2027-01-15", "5", "365"))
    months = books.months()
    assert (months["2026-01"], months["2026-02"], months["2027-01"]) == (17, 28, 14)
    assert sum(months.values()) == 365


def test_a_service_of_yen_is_earned_in_whole_yen() -> None:
    books = Books()
    books.know(subscribed("2026-01-31", "2026-04-30", "1", "100", currency="JPY"))
    assert all(amount == int(amount) for amount in books.months().values())
    assert sum(books.months().values()) == 100


def test_a_project_is_earned_by_its_milestones() -> None:
    books = Books()
    books.know(ordered("2026-01-10", "1", "999.99", A_PROJECT))
    books.know(a_fact(Kind.MILESTONE, "2026-02-10", source="design"))
    assert books.months() == {"2026-02": Decimal("300.00")}
    books.know(a_fact(Kind.MILESTONE, "2026-05-10", source="live"))
    assert books.of("earned") == books.of("price") == Decimal("999.99")


def test_what_must_be_accepted_counts_when_it_is_or_when_the_time_for_it_is_over() -> None:
    books = Books()
    books.know(ordered("2026-01-01", "1", "100", TO_ACCEPT), delivered("2026-01-20", "1"))
    assert books.months() == {"2026-02": 100}
    books.know(a_fact(Kind.ACCEPTED, "2026-01-25"))
    assert {m: a for m, a in books.months().items() if a} == {"2026-01": 100}


def test_what_comes_back_takes_its_price_with_it_until_something_else_is_delivered_for_it() -> None:
    books = Books()
    books.know(ordered("2026-01-01", "3", "100"), delivered("2026-01-20", "3"))
    books.know(a_fact(Kind.RETURNED, "2026-02-03", "1"))
    assert (books.of("price"), books.of("earned")) == (Decimal("66.67"), Decimal("66.67"))
    books.know(a_fact(Kind.REPLACED, "2026-03-03", "1"))
    assert (books.of("price"), books.of("earned")) == (100, 100)
    assert books.months() == {"2026-01": 100, "2026-02": Decimal("-33.33"), "2026-03": Decimal("33.33")}


def test_what_is_learned_of_a_closed_month_counts_in_the_first_open_one() -> None:
    books = Books()
    books.know(ordered("2026-01-01", "2", "100"), delivered("2026-01-20", "1"))
    books.closed = day("2026-02-01")
    (late,) = books.know(delivered("2026-01-31", "1"))
    assert (late.month, late.earned_in, late.amount) == (day("2026-03-01"), day("2026-01-01"), 50)
    assert books.months() == {"2026-01": 50, "2026-03": 50}


@pytest.mark.parametrize(
    ("month", "closed", "problem"),
    [
        ("2026-01-01", "2026-01-01", "2026-01 is closed already"),
        ("2025-12-01", "2026-01-01", "2025-12 is closed already"),
        ("2026-03-01", "2026-01-01", "Close 2026-02 first"),
        ("2026-03-01", None, "2026-03 is not over yet"),
    ],
)
def test_months_are_closed_one_after_the_other_and_once(month: str, closed: str | None, problem: str) -> None:
    with pytest.raises((Locked, Invalid), match=problem):
        check_closing(day(month), day(closed) if closed else None, day("2026-03-31"))


# --- laws -------------------------------------------------------------------------------------------------------------

WHEN = st.integers(0, 500).map(lambda n: (date(2026, 1, 1) + timedelta(days=n)).isoformat())
CENTS = st.integers(0, 100_000).map(lambda n: str(Decimal(n) / 100))
STORIES = st.lists(
    st.tuples(st.sampled_from(["delivered", "returned", "replaced", "accepted", "more", "close"]), WHEN,
              st.integers(1, 4)),
    max_size=8,
)  # fmt: skip


@given(net=CENTS, story=STORIES, terms=st.sampled_from([GOODS, TO_ACCEPT]))
def test_earned_and_remaining_are_the_price_and_closed_months_never_change(
    net: str, story: list[tuple[str, str, int]], terms: Terms
) -> None:
    books = Books()
    books.know(ordered("2026-01-01", "10", net, terms, id="first"))
    arrived = back = 0
    for n, (what, on, some) in enumerate(story):
        frozen = {m: a for kind in ("price", "earned") for m, a in books.months(kind).items()
                  if books.closed and m <= f"{books.closed:%Y-%m}"}  # fmt: skip
        if what == "close":
            books.closed = max(books.closed or date.min, month_of(day(on)))
        elif what == "delivered" and arrived + some <= 10:
            arrived += some
            books.know(delivered(on, str(some), id=str(n)))
        elif what == "returned" and back + some <= arrived:
            back += some
            books.know(a_fact(Kind.RETURNED, on, str(some), id=str(n)))
        elif what == "replaced" and some <= back:
            back -= some
            books.know(a_fact(Kind.REPLACED, on, str(some), id=str(n)))
        elif what == "accepted":
            books.know(a_fact(Kind.ACCEPTED, on, id=str(n)))
        elif what == "more":
            books.know(ordered(on, "0", "1.01", terms, id=str(n)))
        remaining = books.of("price") - books.of("earned")
        assert remaining >= 0
        assert remaining == 0 or arrived < 10
        now = {m: a for kind in ("price", "earned") for m, a in books.months(kind).items() if m in frozen}
        assert now == frozen


@given(net=CENTS, first=st.dates(date(2026, 1, 1), date(2028, 1, 1)), days=st.integers(1, 900))
def test_a_term_is_earned_evenly_to_less_than_a_cent(net: str, first: date, days: int) -> None:
    books, ends = Books(), first + timedelta(days=days)
    books.know(subscribed(first.isoformat(), ends.isoformat(), "1", net, terms=A_YEAR))
    assert books.of("earned") == Decimal(net)
    gone, so_far = 0, Decimal(0)
    for text, amount in sorted(books.months().items()):
        following = (day(f"{text}-01") + timedelta(days=32)).replace(day=1)
        so_far, gone = so_far + amount, (min(following, ends) - first).days
        assert abs(so_far - Decimal(net) * gone / days) < Decimal("0.01")
