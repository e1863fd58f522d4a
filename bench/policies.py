"""What a plan costs beside other engines on the same rules, and a backtest beside its length."""

import csv
import json
import random
import statistics
import tempfile
import time
import tracemalloc
from collections.abc import Callable
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

from rich.table import Table

from bench.engines import ENGINES
from bench.report import Report, ratio
from domain.approvals.compare import Backtest, effect
from domain.approvals.evaluation import Facts
from domain.approvals.operators import Operator
from domain.approvals.plan import plan
from domain.approvals.policy import Aggregate, Condition, Filter, Policy, Rule, Variable, Who
from domain.approvals.subject import Subject
from domain.people import Directory, Person, Role
from services.imports.records import records

SHORT, LONG = 1_000, 100_000
RULES, LINES, VARIABLES, FAMILIES = 500, 1_000, 50, 10
TODAY = date(2026, 3, 2)
DIRECTORY = Directory(people={"ana": Person(id="ana", name="Ana", roles=(Role.APPROVER,))})
AGGREGATES = (Aggregate.SUM, Aggregate.MAX, Aggregate.AVERAGE, Aggregate.COUNT, Aggregate.MIN)
FIELDS = ("net_total", "discount_percent", "quantity")


def a_quote() -> str:
    """The JSON of a quote as an API gives it: lines with all their fields, amounts as text so that they stay exact."""
    chance = random.Random(2026)
    lines = [
        {
            "id": f"L-{n:04}", "product": f"P-{n % 40:03}", "name": f"Product number {n % 40}", "family": f"F{n % FAMILIES}",
            "quantity": str(chance.randint(1, 20)), "list_price": f"{chance.randint(1000, 90000) / 100:.2f}",
            "discount_percent": str(chance.randint(0, 40)), "list_total": f"{chance.randint(1000, 900000) / 100:.2f}",
            "net_total": f"{chance.randint(1000, 800000) / 100:.2f}", "billing": "recurring", "term_months": 24,
            "recognition": "ratable", "requires": None, "severable": False, "group": "first year",
            "requested_date": "2026-06-01", "sla": "gold", "ship_to": {"name": "Warehouse", "city": "Porto", "country": "PT"},
            "fields": {"margin": chance.randint(1, 60), "colour": "anthracite"},
        }
        for n in range(LINES)
    ]  # fmt: skip
    header = {"id": "Q-1", "customer": "Acme", "currency": "EUR", "discount_percent": "22.5", "term_months": 24}
    return json.dumps({**header, "lines": lines})


def a_policy() -> Policy:
    variables = tuple(
        Variable(
            name=f"v{n}", aggregate=AGGREGATES[n % 5], field=FIELDS[n % 3],
            where=(Filter(field="family", operator=Operator.EQUALS, value=f"F{n % FAMILIES}"),),
        )
        for n in range(VARIABLES)
    )  # fmt: skip
    return Policy(kind="quote", variables=variables, rules=tuple(_rule(n) for n in range(RULES)))


def _rule(n: int) -> Rule:
    """(discount > a and v > b) or term < c, in three ways of writing it."""
    conditions = (
        Condition(index=1, field="discount_percent", operator=Operator.GREATER_THAN, value=Decimal(n % 45), smart=True),
        Condition(index=2, variable=f"v{n % VARIABLES}", operator=Operator.GREATER_THAN, value=Decimal(n * 3)),
        Condition(index=3, field="term_months", operator=Operator.LESS_THAN, value=Decimal(n % 60)),
    )
    return Rule(
        name=f"r{n}", ask=Who(user="ana"), logic=("all", "any", "1 AND (2 OR NOT 3)")[n % 3], conditions=conditions
    )


def subject_of(data: dict[str, Any]) -> Subject:
    """The quote as the policy sees it, its amounts as decimals."""
    header = {"discount_percent": Decimal(data["discount_percent"]), "term_months": Decimal(data["term_months"])}
    lines = [
        {
            "id": line["id"],
            "product": line["product"],
            "family": line["family"],
            **{f: Decimal(line[f]) for f in FIELDS},
        }
        for line in data["lines"]
    ]
    return Subject.model_construct(
        kind="quote", id="Q-1", version=1, digest="", title="", customer="", owner="rita", editors=(), fields=header,
        lines=lines,
    )  # fmt: skip


def best(act: Callable[[], Any], times: int = 9) -> float:
    """Milliseconds of the middle run."""
    spent = []
    for _ in range(times):
        started = time.perf_counter()
        act()
        spent.append((time.perf_counter() - started) * 1000)
    return statistics.median(spent)


def plans(report: Report) -> None:
    text, policy = a_quote(), a_policy()
    data = json.loads(text)
    subject = subject_of(data)

    def ours() -> set[str]:
        made, _ = plan(policy, subject_of(data), DIRECTORY, "rita", "draft", TODAY)
        assert all(approval.reasons for approval in made.approvals)
        return {approval.rule for approval in made.approvals}

    loading = best(lambda: json.loads(text), 30)
    whole = best(ours)
    ready = best(lambda: plan(policy, subject, DIRECTORY, "rita", "draft", TODAY))
    table = Table(
        "", "ms", "× json.loads", title=f"{RULES} rules × {LINES} lines, {VARIABLES} variables, {len(text):,} bytes"
    )
    for name, spent in (("json.loads of the quote", loading), ("plan with reasons, from parsed JSON", whole), ("the same on a ready subject", ready)):  # fmt: skip
        table.add_row(name, f"{spent:.1f}", f"{spent / loading:.1f}")
    report.show(table)
    report.ratio("plan with reasons : json.loads of the quote", ratio(whole, loading), "≤ 5")
    _engines(report, data, policy, whole, ready, ours())


def _engines(
    report: Report, data: dict[str, Any], policy: Policy, whole: float, known: float, answer: set[str]
) -> None:
    """The same rules in other engines, which count in floats and give no reasons; their answers are checked."""
    numbers = {"discount_percent": float(data["discount_percent"]), "term_months": float(data["term_months"])}
    lines = [{"family": n["family"], **{f: float(n[f]) for f in FIELDS}} for n in data["lines"]]
    facts = Facts(subject_of(data), policy)
    figures = {v.name: float(facts.variable(v.name) or 0) for v in policy.variables}
    table = Table(
        "", "walking lines, ms", "on ready facts, ms", title="The same rules elsewhere; answers checked equal"
    )
    table.add_row("dealwright, with reasons", f"{whole:.1f}", f"{known:.1f}")
    for name, engine in ENGINES.items():
        row = []
        for ready in (False, True):
            try:
                judge = engine(policy, ready)
            except ImportError:
                row.append("not installed")
                continue
            given = {**numbers, **(figures if ready else {"lines": lines})}
            assert judge(given) == answer, f"{name} answers differently"
            row.append(f"{best(lambda judge=judge, given=given: judge(given), 3):.1f}")  # type: ignore[misc]
        table.add_row(name, *row)
    report.show(table)


def backtests(report: Report) -> None:
    """Records per second over CSV files of two lengths, and the memory that each took at most."""
    old, new = a_policy(), a_policy()
    small = {name: value.with_rules(value.rules[:20]) for name, value in (("old", old), ("new", new))}
    table = Table("records", "records/s", "peak MB", title="Backtest of 20 rules over a CSV")
    peaks = []
    with tempfile.TemporaryDirectory() as folder:
        for count in SHORT, LONG:
            file = Path(folder) / f"{count}.csv"
            with file.open("w", newline="") as stream:
                writer = csv.writer(stream)
                writer.writerow(["Id", "Name", "discount_percent", "term_months"])
                writer.writerows([f"R-{n}", f"Record {n}", n % 50, n % 70] for n in range(count))
            started, total = time.perf_counter(), Backtest()
            for subject, status in records(small["new"], file):
                total = total.plus(effect(small["old"], small["new"], subject, status, TODAY))
            spent = time.perf_counter() - started
            assert total.records == count
            tracemalloc.start()
            for n, (subject, status) in enumerate(records(small["new"], file)):
                if n % 100 == 0:
                    effect(small["old"], small["new"], subject, status, TODAY)
            peaks.append(tracemalloc.get_traced_memory()[1] / 1e6)
            tracemalloc.stop()
            table.add_row(f"{count:,}", f"{count / spent:,.0f}", f"{peaks[-1]:.1f}")
    report.show(table)
    report.ratio(f"backtest: peak memory, {LONG:,} : {SHORT:,} records", ratio(peaks[1], peaks[0]), "flat")


async def run(report: Report) -> None:
    plans(report)
    backtests(report)
