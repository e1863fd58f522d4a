"""How long approvals will take, by how long they took before."""

from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal
from statistics import median

from domain.approvals.plan import Plan, PlannedApproval

Past = Mapping[tuple[str, str], Sequence[Decimal]]
"""For each approver and rule the hours their earlier decisions took."""


def expected_hours(plan: Plan, past: Past) -> Decimal | None:
    """Hours until the last approval is given, by medians; None where somebody needed was never asked before.

    A step takes as long as its slowest approval, an approval as long as the last person it needs."""
    chains = {approval.chain for approval in plan.approvals}
    took: dict[str, Decimal | None] = {}

    def until(chain: str) -> Decimal | None:
        if chain not in took:
            begins = _slowest(until(before) for before in plan.after.get(chain, ()) if before in chains)
            steps = _steps([a for a in plan.approvals if a.chain == chain], past)
            took[chain] = None if begins is None or steps is None else begins + steps
        return took[chain]

    return _slowest(until(chain) for chain in chains)


def _slowest(hours: Iterable[Decimal | None]) -> Decimal | None:
    """None where one of them is unknown; 0 without any."""
    slowest = Decimal(0)
    for one in hours:
        if one is None:
            return None
        slowest = max(slowest, one)
    return slowest


def _steps(approvals: Sequence[PlannedApproval], past: Past) -> Decimal | None:
    total = Decimal(0)
    for order in sorted({(a.step, a.tier) for a in approvals}):
        asked = [a for a in approvals if (a.step, a.tier) == order and not a.inform and a.carried is None]
        slowest = _slowest(_hours(a, past) for a in asked)
        if slowest is None:
            return None
        total += slowest
    return total


def _hours(approval: PlannedApproval, past: Past) -> Decimal | None:
    known = sorted(median(past[seat, approval.rule]) for seat in approval.seats if past.get((seat, approval.rule)))
    return known[approval.needed - 1] if len(known) >= approval.needed else None
