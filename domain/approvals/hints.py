"""Hints: the smallest change that would drop an approval, each proved by evaluating it."""

from collections.abc import Callable, Iterator
from datetime import date
from decimal import Decimal

from domain.approvals.evaluation import evaluate
from domain.approvals.operators import ORDERINGS
from domain.approvals.policy import Policy, Rule
from domain.approvals.subject import Subject
from domain.quotes import Quote
from domain.values import Value

CENT = Decimal("0.01")
MOST_LINES_TRIED = 20_000  # a preview answers at once: long quotes get fewer hints


class Hint(Value):
    """Setting `field` to `value` drops the rule's approval. `discount_percent` means: every line at that discount."""

    rule: str
    title: str
    field: str
    value: Decimal


Subjects = Callable[[Quote], Subject]


def hints(policy: Policy, quote: Quote, subject: Subjects, fired: set[str], status: str, today: date) -> list[Hint]:
    """For each rule that fires on the quote the nearest discount, or else the nearest term, at which it does not."""
    found, tries = [], iter(range(MOST_LINES_TRIED // max(1, len(quote.lines))))
    for rule in policy.rules:
        if rule.name in fired:
            for (field, value, changed), _ in zip(_changes(rule, quote), tries, strict=False):
                if _drops(policy, rule, subject(changed), status, today):
                    found.append(Hint(rule=rule.name, title=rule.heading, field=field, value=value))
                    break
    return found


def _drops(policy: Policy, rule: Rule, subject: Subject, status: str, today: date) -> bool:
    only = policy.with_rules((rule,))
    return not evaluate(only, subject, status, today)[0].fired


def _changes(rule: Rule, quote: Quote) -> Iterator[tuple[str, Decimal, Quote]]:
    """Candidate changes, the smallest first: discounts below today's, then terms near today's."""
    thresholds = {
        bound
        for c in rule.conditions
        if c.operator in ORDERINGS and isinstance(c.value, Decimal)
        for bound in (c.value - CENT, c.value, c.value + CENT)
    }
    today = max((line.discount for line in quote.lines), default=Decimal(0))
    for value in sorted((t for t in thresholds | {Decimal(0)} if 0 <= t < today), reverse=True):
        yield "discount_percent", value, _discounted(quote, value)
    if quote.term_months is not None:
        months = {m for t in thresholds for m in (int(t), int(t) + 1, int(t) - 1) if 1 <= m <= 1200}
        for term in sorted(months - {quote.term_months}, key=lambda m: abs(m - quote.term_months)):  # type: ignore[operator]
            yield "term_months", Decimal(term), quote.changed(term_months=term)


def _discounted(quote: Quote, percent: Decimal) -> Quote:
    """Every line at most at this discount, and its figures follow."""
    cleared = {"net_price": None, "net_total": None}
    lines = tuple(line.evolve(discount_percent=min(line.discount, percent), **cleared) for line in quote.lines)
    return quote.changed(lines=lines)
