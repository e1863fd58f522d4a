"""What became of each line of a quote, true at every moment: quoted = unallocated + allocated + cancelled."""

from collections.abc import Sequence
from decimal import Decimal

from domain.errors import Invalid, problem
from domain.orders.division import largest_remainder
from domain.values import Amount, Id, Value, plain_number

ZERO = Decimal(0)


class Share(Value):
    """So much of a line, and the money that goes with it."""

    quantity: Amount
    net: Amount = ZERO
    full: Amount = ZERO
    """At list price."""

    def plus(self, other: "Share") -> "Share":
        return self if other is NOTHING else other if self is NOTHING else self._moved(other, 1)

    def minus(self, other: "Share") -> "Share":
        return self if other is NOTHING else self._moved(other, -1)

    def _moved(self, other: "Share", sign: int) -> "Share":
        # Copied, not validated: sums of amounts are amounts, and a preview makes thousands of them.
        return self.evolve(
            quantity=self.quantity + sign * other.quantity,
            net=self.net + sign * other.net,
            full=self.full + sign * other.full,
        )

    @property
    def sound(self) -> bool:
        """Nothing is below 0, and no money stands where no quantity is."""
        return min(self.quantity, self.net, self.full) >= 0 and (self.quantity > 0 or self.net == self.full == 0)


NOTHING = Share(quantity=ZERO)


class LineLedger(Value):
    """Every part is at least 0, in quantity and in money; what is fulfilled stays allocated."""

    line: Id
    quoted: Share
    unallocated: Share
    allocated: Share = NOTHING
    cancelled: Share = NOTHING
    excess: Share = NOTHING
    """What arrived beyond the orders and the customer keeps: beside what was quoted."""
    not_charged: Amount = ZERO
    """Of what was accepted, what the customer does not owe: subscriptions that end with a contract cost less."""
    moves: int = 0
    """How often something was moved: two who read the same may not both write."""

    @property
    def balanced(self) -> bool:
        left, held, ended, quoted = self.unallocated, self.allocated, self.cancelled, self.quoted
        return (
            left.quantity + held.quantity + ended.quantity == quoted.quantity
            and left.net + held.net + ended.net + self.not_charged == quoted.net
            and self.not_charged >= 0
            and left.full + held.full + ended.full == quoted.full
            and left.sound
            and held.sound
            and ended.sound
        )

    def shifted(self, allocated: Share = NOTHING, cancelled: Share = NOTHING) -> "LineLedger":
        """So much more is allocated to orders and cancelled for good, out of what is unallocated; less gives it back.

        Raises Invalid naming the line, what is asked for and what is there."""
        taken = allocated.plus(cancelled)
        moved = self.evolve(
            unallocated=self.unallocated.minus(taken),
            allocated=self.allocated.plus(allocated),
            cancelled=self.cancelled.plus(cancelled),
            moves=self.moves + 1,
        )
        if not moved.balanced:
            raise short_of(self.line, taken.quantity, self.unallocated.quantity)
        return moved

    def divided(self, quantities: Sequence[Decimal], unit: Decimal) -> list[Share]:
        """The shares of so many parts of what is unallocated; money by largest remainder, what is left keeping its own.

        Raises Invalid naming the line, what is asked for and what is there."""
        there, asked = self.unallocated.quantity, sum(quantities, ZERO)
        if asked > there:
            raise short_of(self.line, asked, there)
        if asked == there and len(quantities) == 1:
            return [self.unallocated]
        weights = [*quantities, there - asked]
        nets = largest_remainder(self.unallocated.net, weights, unit)
        fulls = largest_remainder(self.unallocated.full, weights, unit)
        return [Share(quantity=q, net=n, full=f) for q, n, f in zip(quantities, nets, fulls, strict=False)]


def short_of(line: str, asked: Decimal, there: Decimal) -> Invalid:
    asked_for, available = plain_number(asked), plain_number(there)
    found = problem(f"lines.{line}", "{asked:n} asked for, {there:n} left to order", asked=asked_for, there=available)
    return Invalid.fields([found], line=line, asked=asked_for, available=available)


def opened(line: str, quantity: Decimal, net: Decimal, full: Decimal) -> LineLedger:
    """The ledger of a line that was just accepted: nothing of it is ordered yet."""
    quoted = Share(quantity=quantity, net=net, full=full)
    return LineLedger(line=line, quoted=quoted, unallocated=quoted)
