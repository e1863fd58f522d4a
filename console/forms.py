"""Parts of a policy as forms: what a page shows of a rule, and the rule that somebody typed."""

import csv
import io
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import date
from decimal import Decimal
from typing import Any

from pydantic import ValidationError
from starlette.datastructures import FormData

from domain.approvals.operators import LISTINGS, UNARY
from domain.approvals.policy import Aggregate, Chain, Condition, Filter, Policy, Rule, Variable, Who
from domain.approvals.subject import KNOWN_FIELDS, KNOWN_LINE_FIELDS, FieldType
from domain.errors import Invalid
from domain.problems import invalid_fields
from domain.quotes import Acceptance
from domain.values import Testable, counted, plain_number

Shape = dict[str, Any]
"""What a form's fields hold: texts, and lists of rows of texts."""
BLANK_ROWS = 2
HOURS = ("remind_every_hours", "escalate_after_hours", "expire_after_hours", "consult_hours")
LOOKED_FOR = ("user", "group", "field", "line_field", "manager")


# --- values -----------------------------------------------------------------------------------------------------------

NUMBER, DAY = re.compile(r"-?(0|[1-9][0-9]*)(\.[0-9]+)?"), re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
"""What is written otherwise, such as 00123, is a text: a code, a number of a customer."""
TEXTUAL = (FieldType.TEXT, FieldType.TEXTS)


def written(value: Testable, type: FieldType | None = None) -> str:
    """A value as somebody types it: text that would be read as something else stands in quotes."""
    if isinstance(value, tuple):
        return listed(value)
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return value if value and _scalar(value, type) == value else f"'{value}'"
    return "" if value is None else plain_number(value) if isinstance(value, Decimal) else str(value)


def typed(text: str, operator: str, type: FieldType | None = None) -> Any:
    """What somebody typed, as what the tested field holds; where that is not known, as what it looks like."""
    if operator in UNARY or not text.strip():
        return None
    return unlisted(text) if operator in LISTINGS else _scalar(text, type)


def _scalar(text: str, type: FieldType | None) -> Decimal | bool | date | str:
    text = text.strip()
    if len(text) > 1 and text[0] == text[-1] == "'":
        return text[1:-1]
    if type in TEXTUAL:
        return text
    if text in ("true", "false"):
        return text == "true"
    if NUMBER.fullmatch(text):
        return Decimal(text)
    try:
        return date.fromisoformat(text) if DAY.fullmatch(text) else text
    except ValueError:
        return text


def listed(texts: Iterable[str]) -> str:
    line = io.StringIO()
    csv.writer(line, delimiter=";", lineterminator="").writerow(texts)
    return line.getvalue()


def unlisted(text: str) -> list[str]:
    return [
        item for row in csv.reader([text], delimiter=";", skipinitialspace=True) for item in map(str.strip, row) if item
    ]


def _words(text: str) -> list[str]:
    return text.replace(",", " ").split()


# --- parts ------------------------------------------------------------------------------------------------------------


def shape_of(part: Rule | Variable | Chain, kind: str) -> Shape:
    """A part of a policy of a kind, as its form shows it."""
    if isinstance(part, Rule):
        return _rule_shape(part, KNOWN_FIELDS.get(kind, {}))
    if isinstance(part, Variable):
        plain = {name: getattr(part, name) or "" for name in ("name", "field", "list", "net", "plus")}
        known = KNOWN_LINE_FIELDS.get(kind, {})
        rows = [_filter_row(kept, known.get(kept.field)) for kept in part.where]
        return {**plain, "aggregate": part.aggregate.value, "rows": _rows(rows)}
    return {"name": part.name, "after": list(part.after)}


def _rule_shape(rule: Rule, known: Mapping[str, FieldType]) -> Shape:
    custom = rule.logic not in ("all", "any")
    escalation = rule.escalate_to if isinstance(rule.escalate_to, Who) else None
    return {
        "name": rule.name, "title": rule.title or "", "chain": rule.chain or "", "step": str(rule.step),
        "logic": "custom" if custom else rule.logic, "expression": rule.logic if custom else "",
        "rows": _rows([_condition_row(c, known.get(c.field or "")) for c in rule.conditions]),
        **_who_shape("ask", rule.ask), **_who_shape("fallback", rule.fallback), **_who_shape("escalate", escalation),
        "effect": rule.effect, "active": rule.active, "explicit": rule.explicit, "smart_mode": rule.smart_mode,
        "override_field": rule.override_field or "", "excluded_statuses": listed(rule.excluded_statuses),
        "effective_from": str(rule.effective_from or ""), "effective_to": str(rule.effective_to or ""),
        **{name: written(getattr(rule, name)) for name in HOURS},
        **{name: listed(getattr(rule, name) or ()) for name in ("excludes", "requires")},
    }  # fmt: skip


def _who_shape(prefix: str, who: Who | None) -> Shape:
    kind = who.kinds[0] if who and who.kinds else ""
    return {
        f"{prefix}_kind": kind, f"{prefix}_name": getattr(who, kind) if kind else "",
        f"{prefix}_quorum": str(who.quorum) if who else "any",
        f"{prefix}_unit": who.where.unit if who and who.where else "",
    }  # fmt: skip


def _condition_row(condition: Condition, type: FieldType | None) -> Shape:
    other = condition.other_field or condition.other_variable
    return {
        "index": str(condition.index), "tested": condition.tested_name, "operator": condition.operator.value,
        "other": bool(other), "value": other or written(condition.value, type), "smart": condition.smart,
    }  # fmt: skip


def _filter_row(kept: Filter, type: FieldType | None) -> Shape:
    return {"tested": kept.field, "operator": kept.operator.value, "value": written(kept.value, type)}


def _rows(rows: list[Shape]) -> list[Shape]:
    """With blank ones to write more into; a form can hold only so many."""
    return rows + [{"tested": "", "operator": "equals", "value": ""} for _ in range(BLANK_ROWS)]


# --- what somebody typed ----------------------------------------------------------------------------------------------


def filled(place: str, form: FormData) -> Shape:
    """The form's fields as typed, to be shown again and to be read."""
    texts = {name: value for name, value in form.items() if isinstance(value, str)}
    if place == "chains":
        return {"name": texts.get("name", ""), "after": [v for v in form.getlist("after") if isinstance(v, str)]}
    columns = {name: [str(v) for v in form.getlist(name)] for name in ("tested", "operator", "value", "index")}
    ticked = {name: {str(v) for v in form.getlist(name)} for name in ("smart", "other")}
    rows = [
        {
            **{name: column[n] if n < len(column) else "" for name, column in columns.items()},
            **{name: str(n) in numbers for name, numbers in ticked.items()},
        }
        for n, tested in enumerate(columns["tested"])
        if tested.strip()
    ]
    blank = shape_of(Rule(name="x") if place == "rules" else Variable(name="x", aggregate=Aggregate.COUNT), "")
    known = {name: texts.get(name, "") for name in blank if name not in ("rows", "active", "explicit")}
    marks = {name: name in texts for name in ("active", "explicit")} if place == "rules" else {}
    return {**known, **marks, "rows": _rows(rows)}


def read(place: str, shape: Mapping[str, Any], policy: Policy) -> Rule | Variable | Chain:
    """The part of a policy that a form describes. Raises Invalid naming each field."""
    makers: dict[str, Callable[..., Rule | Variable | Chain]] = {
        "rules": _rule,
        "variables": _variable,
        "chains": _chain,
    }
    try:
        return makers[place](shape, policy)
    except ValidationError as error:
        raise invalid_fields("this cannot be saved", error) from None


def _chain(shape: Mapping[str, Any], policy: Policy) -> Chain:
    return Chain.model_validate({"name": shape["name"], "after": shape["after"]})


def _variable(shape: Mapping[str, Any], policy: Policy) -> Variable:
    known = KNOWN_LINE_FIELDS.get(policy.kind, {})
    where = [
        {
            "field": (tested := row["tested"].strip()),
            "operator": row["operator"],
            "value": typed(row["value"], row["operator"], known.get(tested)),
        }
        for row in _typed_rows(shape)
    ]
    plain = {name: shape[name].strip() for name in ("name", "aggregate", "field", "list", "net", "plus")}
    return Variable.model_validate({**{k: v for k, v in plain.items() if v}, "where": where})


def _rule(shape: Mapping[str, Any], policy: Policy) -> Rule:
    texts = ("title", "chain", "override_field", "effective_from", "effective_to", *HOURS)
    plain = {name: shape[name].strip() for name in texts if shape[name].strip()}
    pairs = {name: _pair(name, shape[name]) for name in ("excludes", "requires") if shape[name].strip()}
    escalation = _who(shape, "escalate")
    return Rule.model_validate(
        {
            **plain,
            **pairs,
            "name": shape["name"].strip(),
            "step": shape["step"] or 1,
            "logic": shape["expression"].strip() if shape["logic"] == "custom" else shape["logic"] or "all",
            "conditions": _conditions(shape, policy),
            "ask": _who(shape, "ask"),
            "fallback": _who(shape, "fallback"),
            "escalate_to": escalation or "manager",
            "effect": shape["effect"] or "approve",
            "active": shape["active"],
            "explicit": shape["explicit"],
            "smart_mode": shape["smart_mode"] or "worse",
            "excluded_statuses": unlisted(shape["excluded_statuses"]),
        }
    )


def _pair(name: str, text: str) -> list[str]:
    pair = unlisted(text)
    if len(pair) != 2:
        raise Invalid.field(name, "names two products or families, with a semicolon between them")
    return pair


def _typed_rows(shape: Mapping[str, Any]) -> Sequence[Shape]:
    return [row for row in shape["rows"] if row["tested"].strip()]


def _conditions(shape: Mapping[str, Any], policy: Policy) -> list[Shape]:
    variables, fields = {v.name for v in policy.variables}, KNOWN_FIELDS.get(policy.kind, {})
    rows = _typed_rows(shape)
    taken = {index for row in rows if (index := counted(row.get("index", ""))) is not None}
    found = []
    for row in rows:
        tested, value = row["tested"].strip(), row["value"].strip()
        index = counted(row.get("index", ""))
        index = max(taken, default=0) + 1 if index is None else index
        taken.add(index)
        type = FieldType.NUMBER if tested in variables else fields.get(tested)
        compared = (
            {"other_variable" if value in variables else "other_field": value}
            if row.get("other")
            else {"value": typed(value, row["operator"], type)}
        )
        named = {"variable" if tested in variables else "field": tested}
        found.append({"index": index, **named, "operator": row["operator"], **compared, "smart": row.get("smart")})
    return found


def _who(shape: Mapping[str, Any], prefix: str) -> Shape | None:
    kind, name = shape[f"{prefix}_kind"], shape[f"{prefix}_name"].strip()
    if kind not in LOOKED_FOR or not name:
        return None
    quorum, unit = shape[f"{prefix}_quorum"].strip(), shape[f"{prefix}_unit"].strip()
    narrowed = {"where": {"unit": unit}} if unit else {}
    number = counted(quorum)
    enough = {"quorum": quorum if number is None else number} if quorum and kind == "group" else {}
    return {kind: name, **narrowed, **enough}


def settings_shape(policy: Policy) -> Shape:
    return {
        "on_rejection": policy.on_rejection, "valid_for_days": str(policy.valid_for_days or ""),
        "neutral": " ".join(policy.neutral), "identity": " ".join(policy.identity), "routing": " ".join(policy.routing),
    }  # fmt: skip


SETTINGS = ("on_rejection", "valid_for_days", "neutral", "identity", "routing")


def typed_settings(form: FormData) -> Shape:
    return {name: str(form.get(name, "")) for name in SETTINGS}


def with_settings(policy: Policy, form: FormData) -> Policy:
    """The policy with what a form says of it as a whole. Raises Invalid."""
    texts = typed_settings(form)
    changed = {
        "on_rejection": texts["on_rejection"] or "end", "valid_for_days": texts["valid_for_days"].strip() or None,
        "neutral": _words(texts["neutral"]), "identity": _words(texts["identity"]), "routing": _words(texts["routing"]),
    }  # fmt: skip
    try:
        return Policy.model_validate({**{n: getattr(policy, n) for n in Policy.model_fields}, **changed})
    except ValidationError as error:
        raise invalid_fields("this cannot be saved", error) from None


def read_acceptance(on: str, po_number: str, document: str) -> Acceptance:
    """The customer's yes, as somebody typed it. Raises Invalid."""
    try:
        return Acceptance.model_validate({"on": on, "po_number": po_number, "document": document})
    except ValidationError as error:
        raise invalid_fields("this cannot be saved", error) from None
