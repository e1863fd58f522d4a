"""What became of each line of a quote, true at every moment: quoted = unallocated + allocated + cancelled."""

from collections.abc import Sequence
from decimal import Decimal

from domain.errors import Invalid
from domain.orders.division import largest_remainder
from domain.values import Amount, Id, Value

ZERO = Decimal(0)


class Share(Value):
    """So much of a line, and the money that goes with it."""

    quantity: Amount
    net: Amount = ZERO
    full: Amount = ZERO
    """At list price."""

    def plus(self, other: "Share") -> "Share":
        return Share(quantity=self.quantity + other.quantity, net=self.net + other.net, full=self.full + other.full)

    def minus(self, other: "Share") -> "Share":
        return Share(quantity=self.quantity - other.quantity, net=self.net - other.net, full=self.full - other.full)


NOTHING = Share(quantity=ZERO)


class LineLedger(Value):
    """Every part is at least 0, in quantity and in money; what is fulfilled stays allocated."""

    line: Id
    quoted: Share
    unallocated: Share
    allocated: Share = NOTHING
    cancelled: Share = NOTHING
    moves: int = 0
    """How often something was moved: two who read the same may not both write."""

    @property
    def balanced(self) -> bool:
        parts = (self.unallocated, self.allocated, self.cancelled)
        total = self.unallocated.plus(self.allocated).plus(self.cancelled)
        return total == self.quoted and all(min(p.quantity, p.net, p.full) >= 0 for p in parts)

    def allocate(self, share: Share) -> "LineLedger":
        return self._moved(unallocated=self.unallocated.minus(share), allocated=self.allocated.plus(share))

    def give_back(self, share: Share) -> "LineLedger":
        """What an order no longer takes can be ordered again, at the price it had."""
        return self._moved(allocated=self.allocated.minus(share), unallocated=self.unallocated.plus(share))

    def cancel(self, share: Share) -> "LineLedger":
        """For good: nobody can order it any more."""
        return self._moved(allocated=self.allocated.minus(share), cancelled=self.cancelled.plus(share))

    def _moved(self, **parts: Share) -> "LineLedger":
        moved = self.model_copy(update={**parts, "moves": self.moves + 1})
        if not moved.balanced:
            raise Invalid.field(f"lines.{self.line}", "more would be moved than there is")
        return moved

    def divided(self, quantities: Sequence[Decimal], unit: Decimal) -> list[Share]:
        """The shares of so many parts of what is unallocated; money by largest remainder, what is left keeping its own.

        Raises Invalid naming the line, what is asked for and what is there."""
        there, asked = self.unallocated.quantity, sum(quantities, ZERO)
        if asked > there:
            what = f"{asked} asked for, {there} left to order"
            raise Invalid(f"lines.{self.line}: {what}", [{"field": f"lines.{self.line}", "problem": what}],
                          line=self.line, asked=str(asked), available=str(there))  # fmt: skip
        weights = [*quantities, there - asked]
        nets = largest_remainder(self.unallocated.net, weights, unit)
        fulls = largest_remainder(self.unallocated.full, weights, unit)
        return [Share(quantity=q, net=n, full=f) for q, n, f in zip(quantities, nets, fulls, strict=False)]


def opened(line: str, quantity: Decimal, net: Decimal, full: Decimal) -> LineLedger:
    """The ledger of a line that was just accepted: nothing of it is ordered yet."""
    quoted = Share(quantity=quantity, net=net, full=full)
    return LineLedger(line=line, quoted=quoted, unallocated=quoted)
