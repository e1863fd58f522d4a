"""Reads an export of Salesforce Advanced Approvals into policies: what maps, and in words what does not.

Facts of the format: `ApprovalStep` null or negative means a rule is never evaluated; `AdvancedCondition` counts
only when `ConditionsMet` is Custom; an approver with a group and `Unanimous` asks all of it; dates are inclusive."""

import re
from collections.abc import Iterator
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from domain.approvals.exchange import invalid_fields
from domain.approvals.operators import Operator
from domain.approvals.policy import Policy
from domain.approvals.subject import KNOWN_FIELDS, FieldType
from domain.errors import Invalid
from domain.values import Value
from services.csv_files import Row
from services.salesforce import Remark, id_of, rows_of

PREFIX = "sbaa__"
RULES, CONDITIONS, CHAINS, APPROVERS, VARIABLES, TRACKED = (
    f"{PREFIX}{name}__c.csv"
    for name in ("ApprovalRule", "ApprovalCondition", "ApprovalChain", "Approver", "ApprovalVariable", "TrackedField")
)
LOGIC = {"All": "all", "Any": "any"}
STATUSES = {"Pending": "in_approval", "Approved": "approved", "Rejected": "rejected", "Recalled": "recalled"}
NOT_MAPPED = (
    "ApprovalTemplate", "RecallTemplate", "RejectionTemplate", "RequestTemplate", "ApprovalRecipients",
    "RejectionRecipients", "Parallel", "SmartApprovalIgnoresConditionsMet",
)  # fmt: skip


class ApprovalsExport(Value):
    """The policies that an export describes, one for each kind of record, and what was not taken over as it stood."""

    policies: list[Policy]
    remarks: list[Remark]


def read_approvals(folder: Path) -> ApprovalsExport:
    """Raises Invalid naming the file, and the line or record, that cannot be read."""
    return _Reader(folder).read()


def field(row: Row, name: str) -> str:
    return row.get(f"{PREFIX}{name}__c", "")


def slug(text: str, row: Row, taken: set[str]) -> str:
    """An id of ours out of a name, with the record's own id where the name is taken or says nothing."""
    words = re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")[:50]
    name = words if words and words not in taken else f"{words}-{id_of(row)[:8]}".strip("-")
    taken.add(name)
    return name


class _Reader:
    def __init__(self, folder: Path) -> None:
        self.rules, self.conditions = rows_of(folder, RULES), rows_of(folder, CONDITIONS)
        self.chains, self.approvers = rows_of(folder, CHAINS), rows_of(folder, APPROVERS)
        self.variables, self.tracked = self._optional(folder, VARIABLES), self._optional(folder, TRACKED)
        self.remarks: list[Remark] = []
        taken: set[str] = set()
        self.chain_names = {id_of(row): slug(row.get("Name", ""), row, taken) for row in self.chains}
        taken = set()
        self.variable_names = {id_of(row): slug(row.get("Name", ""), row, taken) for row in self.variables}
        self.by_id = {id_of(row): row for row in (*self.approvers, *self.variables)}

    @staticmethod
    def _optional(folder: Path, name: str) -> list[Row]:
        return rows_of(folder, name) if (folder / name).is_file() else []

    def remark(self, file: str, row: Row, name: str, what: str) -> None:
        column = f"{PREFIX}{name}__c" if name and name[0].isupper() and name != "Name" else name
        self.remarks.append(Remark(file=file, record=id_of(row), field=column, what=what))

    def read(self) -> ApprovalsExport:
        taken: set[str] = set()
        kinds: dict[str, dict[str, Any]] = {}
        for row in self.rules:
            kind = self._kind(row)
            kinds.setdefault(kind, {"kind": kind, "rules": []})["rules"].append(self._rule(row, kind, taken))
        for row in self.tracked:
            self.remark(TRACKED, row, "", "tracked fields are not mapped: mark the conditions that matter as smart")
        for kind, data in kinds.items():
            data["rules"].sort(key=lambda rule: (rule.get("chain", ""), rule["step"], rule["name"]))
            used = {rule["chain"] for rule in data["rules"] if "chain" in rule}
            data["chains"] = [{"name": name} for name in self.chain_names.values() if name in used]
            data["variables"] = [v for row in self.variables if (v := self._variable(row, kind))]
        try:
            policies = [Policy.model_validate(data) for data in kinds.values()]
        except ValidationError as error:
            raise invalid_fields("the export cannot be taken over", error) from None
        return ApprovalsExport(policies=policies, remarks=self.remarks)

    @staticmethod
    def _kind(row: Row) -> str:
        return field(row, "TargetObject").removeprefix("SBQQ__").removesuffix("__c").lower() or "opportunity"

    def _rule(self, row: Row, kind: str, taken: set[str]) -> dict[str, Any]:
        conditions = sorted(self._conditions(row, kind), key=lambda condition: int(condition["index"]))
        rule: dict[str, Any] = {
            "name": slug(row.get("Name", ""), row, taken), "title": row.get("Name") or id_of(row),
            "conditions": conditions, "step": 1, "ask": self._approver(row),
            "active": field(row, "Active") == "true", "explicit": field(row, "RequireExplicitApproval") == "true",
            "logic": self._logic(row),
            "effective_from": self._day(row, "EffectiveStartDate"), "effective_to": self._day(row, "EffectiveEndDate"),
            "excluded_statuses": [
                STATUSES.get(name, name.lower()) for name in field(row, "ExcludedStatuses").split(";") if name
            ],
            "override_field": field(row, "OverrideField") or None,
            "smart_mode": "literal" if any(c["smart"] for c in conditions) else "worse",
        }  # fmt: skip
        if chain := self.chain_names.get(field(row, "ApprovalChain")):
            rule["chain"] = chain
        elif field(row, "ApprovalChain"):
            self.remark(
                RULES, row, "ApprovalChain", "names a chain that the export does not have; the rule stands alone"
            )
        self._step(row, rule)
        for name in NOT_MAPPED:
            if field(row, name) not in ("", "false"):
                self.remark(RULES, row, name, f"{field(row, name)!r} is not mapped")
        if field(row, "EffectiveDateField") == "Created Date":
            self.remark(RULES, row, "EffectiveDateField", "effective dates are held against the day of submission here")
        return rule

    def _step(self, row: Row, rule: dict[str, Any]) -> None:
        step = self._number(RULES, row, "ApprovalStep")
        if step is None or step < 0:
            rule["active"] = False
            self.remark(
                RULES, row, "ApprovalStep", "is empty or negative: Salesforce never evaluates the rule; inactive here"
            )
        else:
            rule["step"] = max(1, int(step))

    def _logic(self, row: Row) -> str:
        met, expression = field(row, "ConditionsMet"), field(row, "AdvancedCondition")
        if met == "Custom":
            return expression or "all"
        if expression:
            self.remark(
                RULES, row, "AdvancedCondition", f"{expression!r} is ignored, because ConditionsMet is {met or 'All'}"
            )
        return LOGIC.get(met, "all")

    def _approver(self, row: Row) -> dict[str, Any] | None:
        if named := field(row, "ApproverField"):
            return {"field": named.replace(" ", "_")}
        approver = self.by_id.get(field(row, "Approver"))
        if approver is None:
            self.remark(
                RULES, row, "Approver", "names nobody the export has: the rule needs an approver before it is published"
            )
            return None
        name = slug(approver.get("Name", ""), approver, set())
        if who := field(approver, "DelegatedApprover"):
            span = f"{field(approver, 'DelegationStart')} to {field(approver, 'DelegationEnd')}"
            self.remark(
                APPROVERS,
                approver,
                "DelegatedApprover",
                f"{who} stands in from {span}: set it as a standing delegation",
            )
        if group := field(approver, "GroupId"):
            return {"group": group, "quorum": "all" if field(approver, "Unanimous") == "true" else "any"}
        if field(approver, "Unanimous") == "true":
            self.remark(APPROVERS, approver, "Unanimous", "is set without a group, and says nothing about one person")
        self.remark(
            APPROVERS, approver, "Name", f"is asked as the user {name!r}: give a person this id, or change the rule"
        )
        return {"user": name}

    def _conditions(self, rule: Row, kind: str) -> Iterator[dict[str, Any]]:
        for row in self.conditions:
            if field(row, "ApprovalRule") != id_of(rule):
                continue
            tested = field(row, "TestedField")
            index = self._number(CONDITIONS, row, "Index")
            found: dict[str, Any] = {
                "index": int(index or 0), "operator": self._operator(CONDITIONS, row),
                "smart": field(row, "EnableSmartApproval") == "true",
            }  # fmt: skip
            if tested:
                found["field"] = tested.replace(" ", "_")
            else:
                found["variable"] = self.variable_names.get(field(row, "TestedVariable"))
            filter = field(row, "FilterType")
            if filter == "Variable":
                found["other_variable"] = self.variable_names.get(field(row, "FilterVariable"))
            elif filter == "Field":
                found["other_field"] = field(row, "FilterField").replace(" ", "_")
            else:
                type = FieldType.NUMBER if not tested else KNOWN_FIELDS.get(kind, {}).get(tested)
                found["value"] = self._value(CONDITIONS, row, type)
            yield found

    def _operator(self, file: str, row: Row) -> str:
        operator = field(row, "Operator").replace(" ", "_")
        if operator not in list(Operator):
            raise Invalid.field(f"{file} {id_of(row)}", f"{operator!r} is no operator we know")
        return operator

    def _value(self, file: str, row: Row, type: FieldType | None) -> Any:
        text = field(row, "FilterValue")
        if not text:
            return None
        if type is FieldType.NUMBER:
            return self._number(file, row, "FilterValue")
        if type is FieldType.BOOL and text in ("true", "false"):
            return text == "true"
        return self._day(row, "FilterValue") if type is FieldType.DATE else text

    def _variable(self, row: Row, kind: str) -> dict[str, Any] | None:
        name = self.variable_names[id_of(row)]
        if field(row, "Type") == "Discount":
            sums = [self.by_id.get(field(row, which)) for which in ("ListVariable", "NetVariable")]
            columns = [field(s, "AggregateField") if s and not field(s, "FilterField") else "" for s in sums]
            if not all(columns):
                self.remark(VARIABLES, row, "Type", "a discount between filtered or combined variables is not mapped")
                return None
            return {"name": name, "aggregate": "discount", "list": _column(columns[0]), "net": _column(columns[1])}
        found: dict[str, Any] = {"name": name, "aggregate": field(row, "AggregateFunction").lower() or "count"}
        if column := field(row, "AggregateField"):
            found["field"] = _column(column)
        if kept := field(row, "FilterField"):
            value = self._value(VARIABLES, row, None)
            found["where"] = [{"field": _column(kept), "operator": self._operator(VARIABLES, row), "value": value}]
        if plus := self.variable_names.get(field(row, "CombineWith")):
            found["plus"] = plus
        return found

    def _number(self, file: str, row: Row, name: str) -> Decimal | None:
        text = field(row, name)
        try:
            number = Decimal(text) if text else None
        except ArithmeticError:
            number = Decimal("NaN")
        if number is not None and not number.is_finite():
            raise Invalid.field(f"{file} {id_of(row)} {name}", f"{text[:40]!r} is not a number")
        return number

    def _day(self, row: Row, name: str) -> date | None:
        text = field(row, name)
        try:
            return date.fromisoformat(text[:10]) if text else None
        except ValueError:
            raise Invalid.field(f"{RULES} {id_of(row)} {name}", f"{text[:40]!r} is not a date") from None


def _column(name: str) -> str:
    return name.replace(" ", "_")
