"""Charts drawn by the server: bars by month or week, that read well on a phone and say their numbers to everybody."""

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal

from markupsafe import Markup

HEIGHT, STEP, BAR, TOP, BOTTOM = 200, 46, 30, 22, 34


@dataclass(frozen=True)
class Bar:
    label: str
    value: Decimal
    told: str
    """The value in words, for whoever points at it or cannot see it."""
    future: bool = False


def bars(title: str, given: Sequence[Bar]) -> Markup:
    """One bar for each, down where it is negative; those to come are paler."""
    if not given:
        return Markup("")
    most = max(max(abs(bar.value) for bar in given), Decimal("0.01"))
    low = min(min(bar.value for bar in given), Decimal(0))
    span = HEIGHT - TOP - BOTTOM
    scale = Decimal(span) / (most - low)
    zero = TOP + float(most * scale)
    width = len(given) * STEP + 16
    drawn = [_bar(n, bar, zero, float(scale)) for n, bar in enumerate(given)]
    told = "; ".join(f"{bar.label} {bar.told}" for bar in given)
    return Markup(
        '<svg class="chart" viewBox="0 0 {w} {h}" role="img" aria-label="{title}: {told}" width="{w}" height="{h}">'
        '<line x1="0" x2="{w}" y1="{zero}" y2="{zero}"/>{bars}</svg>'
    ).format(w=width, h=HEIGHT, title=title, told=told, zero=f"{zero:.1f}", bars=Markup("").join(drawn))


def _bar(n: int, bar: Bar, zero: float, scale: float) -> Markup:
    tall = abs(float(bar.value)) * scale
    x, y = 8 + n * STEP + (STEP - BAR) / 2, zero - tall if bar.value >= 0 else zero
    kind = "bar future" if bar.future else "bar"
    return Markup(
        '<g class="{kind}"><title>{label}: {told}</title><rect x="{x}" y="{y}" width="{w}" height="{h}" rx="3"/>'
        '<text x="{middle}" y="{base}">{label}</text></g>'
    ).format(
        kind=kind,
        label=bar.label,
        told=bar.told,
        x=f"{x:.1f}",
        y=f"{y:.1f}",
        w=BAR,
        h=f"{max(tall, 0.5):.1f}",
        middle=f"{x + BAR / 2:.1f}",
        base=HEIGHT - 12,
    )
