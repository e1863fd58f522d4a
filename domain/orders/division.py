"""Dividing an amount so that the parts are whole units and add up to it exactly."""

from collections.abc import Sequence
from decimal import ROUND_FLOOR, Decimal


def largest_remainder(total: Decimal, weights: Sequence[Decimal], unit: Decimal) -> list[Decimal]:
    """`total` over parts in proportion to their weights, in whole units; ties go to the earlier part.

    Each part differs from its exact share by less than one unit. Weights are not negative; `total` is a multiple of
    `unit`. Without any weight everything goes to the last part."""
    whole = sum(weights, Decimal(0))
    if whole == 0:
        return [Decimal(0)] * (len(weights) - 1) + [total]
    exact = [total * weight / whole for weight in weights]
    floors = [(share / unit).to_integral_value(ROUND_FLOOR) * unit for share in exact]
    left = int((total - sum(floors, Decimal(0))) / unit)
    by_remainder = sorted(range(len(weights)), key=lambda n: (floors[n] - exact[n], n))
    for n in by_remainder[:left]:
        floors[n] += unit
    return floors
