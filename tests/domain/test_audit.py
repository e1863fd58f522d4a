from hypothesis import given
from hypothesis import strategies as st

from domain.audit import FIRST, Entry, flaws, seal
from tests.support import NOW

KEY = b"k" * 32


def a_chain(length: int, subject: str = "quote:Q-1") -> list[tuple[Entry, str]]:
    entries, mac = [], FIRST
    for n in range(1, length + 1):
        entry = Entry(
            subject=subject, seq=n, at=NOW, actor="ana", verb="approve", channel="api", applied=True, code="approved"
        )
        mac = seal(KEY, mac, entry)
        entries.append((entry, mac))
    return entries


def test_an_untouched_chain_has_no_flaw() -> None:
    assert not list(flaws(KEY, a_chain(5) + a_chain(3, "quote:Q-2")))


@given(st.integers(2, 8), st.data())
def test_an_edit_a_gap_and_a_swap_are_found(length: int, data: st.DataObject) -> None:
    chain = a_chain(length)
    at = data.draw(st.integers(0, length - 2))
    entry, mac = chain[at]
    edited = [*chain[:at], (entry.model_copy(update={"actor": "eve"}), mac), *chain[at + 1 :]]
    gap = [*chain[:at], *chain[at + 1 :]]
    first, second = chain[at], chain[at + 1]
    swapped = [
        (second[0].model_copy(update={"seq": first[0].seq}), second[1]),
        (first[0].model_copy(update={"seq": second[0].seq}), first[1]),
    ]
    for broken in (edited, gap, [*chain[:at], *swapped, *chain[at + 2 :]]):
        assert list(flaws(KEY, broken))


def test_another_key_finds_every_entry_wrong() -> None:
    assert len(list(flaws(b"x" * 32, a_chain(4)))) == 4
