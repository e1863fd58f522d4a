"""The benchmark's rules in the languages of other rule engines, once walking the lines and once on ready facts."""

import re
from collections.abc import Callable, Mapping
from typing import Any

from domain.approvals.policy import Aggregate, Condition, Policy, Rule, Variable

Fired = set[str]
Facts = Mapping[str, Any]
Engine = Callable[[Policy, bool], Callable[[Facts], Fired]]
"""Given a policy, and whether variables are ready facts, what judges a quote's facts."""

ZEN = {
    Aggregate.SUM: "sum",
    Aggregate.MAX: "max",
    Aggregate.MIN: "min",
    Aggregate.AVERAGE: "avg",
    Aggregate.COUNT: "len",
}
SIGNS = {"greater_than": ">", "less_than": "<"}


def _formula(rule: Rule) -> str:
    """The rule's logic over numbered conditions, as a formula."""
    if rule.logic in ("all", "any"):
        joint = " AND " if rule.logic == "all" else " OR "
        return joint.join(str(c.index) for c in rule.conditions)
    return rule.logic


def _written(rule: Rule, words: Mapping[str, str], test: Callable[[Condition], str]) -> str:
    tests = {str(c.index): test(c) for c in rule.conditions}
    return re.sub(r"\w+", lambda m: words.get(m[0]) or f"({tests[m[0]]})", _formula(rule))


def zen(policy: Policy, ready: bool) -> Callable[[Facts], Fired]:
    import zen as engine

    variables = {v.name: v for v in policy.variables}

    def figure(variable: Variable) -> str:
        kept = f'filter(lines, #.family == "{variable.where[0].value}")'
        return f"{ZEN[variable.aggregate]}(map({kept}, #.{variable.field}))"

    def test(condition: Condition) -> str:
        name = condition.tested_name
        tested = figure(variables[name]) if name in variables and not ready else name
        return f"{tested} {SIGNS[condition.operator.value]} {condition.value}"

    words = {"AND": "and", "OR": "or", "NOT": "not"}
    every = engine.compile_expression("[" + ", ".join(_written(rule, words, test) for rule in policy.rules) + "]")
    return lambda facts: _named(policy, every.evaluate(facts))


def cel(policy: Policy, ready: bool) -> Callable[[Facts], Fired]:
    import cel as engine

    variables = {v.name: v for v in policy.variables}
    functions = {
        "sum_": lambda found: float(sum(found)), "max_": lambda found: float(max(found)),
        "min_": lambda found: float(min(found)), "average_": lambda found: sum(found) / len(found),
        "count_": lambda found: float(len(found)),
    }  # fmt: skip

    def figure(variable: Variable) -> str:
        kept = f'lines.filter(l, l.family == "{variable.where[0].value}").map(l, l.{variable.field})'
        return f"{variable.aggregate.value}_({kept})"

    def test(condition: Condition) -> str:
        name = condition.tested_name
        tested = figure(variables[name]) if name in variables and not ready else name
        return f"{tested} {SIGNS[condition.operator.value]} {float(str(condition.value))}"

    words = {"AND": "&&", "OR": "||", "NOT": "!"}
    every = engine.compile("[" + ", ".join(_written(rule, words, test) for rule in policy.rules) + "]")
    return lambda facts: _named(policy, every.execute(engine.Context(dict(facts), functions)))


def json_logic(policy: Policy, ready: bool) -> Callable[[Facts], Fired]:
    from json_logic import jsonLogic

    variables = {v.name: v for v in policy.variables}

    def figure(variable: Variable) -> Any:
        kept = {"filter": [{"var": "lines"}, {"==": [{"var": "family"}, variable.where[0].value]}]}
        total = {"+": [{"var": "accumulator"}, {"var": f"current.{variable.field}"}]}
        count = {"reduce": [kept, {"+": [{"var": "accumulator"}, 1]}, 0]}
        summed = {"reduce": [kept, total, 0]}
        extreme = {v.value: {"reduce": [kept, {v.value: [{"var": "accumulator"}, {"var": f"current.{variable.field}"}]}, start]}
                   for v, start in ((Aggregate.MAX, -1e18), (Aggregate.MIN, 1e18))}  # fmt: skip
        found = {"sum": summed, "count": count, "average": {"/": [summed, count]}, **extreme}
        return found[variable.aggregate.value]

    def test(condition: Condition) -> Any:
        name = condition.tested_name
        tested = figure(variables[name]) if name in variables and not ready else {"var": name}
        return {SIGNS[condition.operator.value]: [tested, float(str(condition.value))]}

    def logic(rule: Rule) -> Any:
        one, two, three = (test(c) for c in rule.conditions)
        if rule.logic in ("all", "any"):
            return {"and" if rule.logic == "all" else "or": [one, two, three]}
        return {"and": [one, {"or": [two, {"!": [three]}]}]}

    every = [(rule.name, logic(rule)) for rule in policy.rules]
    return lambda facts: {name for name, formula in every if jsonLogic(formula, facts)}


def _named(policy: Policy, answers: list[bool]) -> Fired:
    return {rule.name for rule, fired in zip(policy.rules, answers, strict=True) if fired}


ENGINES: dict[str, Engine] = {"zen-engine": zen, "CEL": cel, "JSON-logic": json_logic}
