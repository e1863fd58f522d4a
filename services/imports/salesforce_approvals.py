"""Reads an export of Salesforce Advanced Approvals into policies: what maps, and in words what does not.

Facts of the format: `ApprovalStep` null or negative means a rule is never evaluated; `AdvancedCondition` counts
only when `ConditionsMet` is Custom; an approver with a group and `Unanimous` asks all of it; dates are inclusive."""

import re
from collections.abc import Iterator
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any, Literal, TypeVar

from pydantic import ValidationError, computed_field

from domain.approvals.operators import Operator
from domain.approvals.policy import Policy, Rule, Variable
from domain.approvals.subject import KNOWN_FIELDS, FieldType
from domain.errors import Invalid
from domain.problems import invalid_fields
from domain.values import Value
from services.imports.csv_files import Locale, Row, number_locale, parse_checkbox, parse_day, parse_number, parse_truth
from services.imports.salesforce import Remark, id_of, table_of

T = TypeVar("T", bound=Value)
PREFIX = "sbaa__"
RULES, CONDITIONS, CHAINS, APPROVERS, VARIABLES, TRACKED = (
    f"{PREFIX}{name}__c.csv"
    for name in ("ApprovalRule", "ApprovalCondition", "ApprovalChain", "Approver", "ApprovalVariable", "TrackedField")
)
RULE_FIELDS = (
    "TargetObject",
    "Active",
    "RequireExplicitApproval",
    "ExcludedStatuses",
    "OverrideField",
    "ApprovalChain",
    "ApprovalStep",
    "ConditionsMet",
    "AdvancedCondition",
    "ApproverField",
    "Approver",
    "EffectiveStartDate",
    "EffectiveEndDate",
    "EffectiveDateField",
)
CONDITION_FIELDS = (
    "ApprovalRule",
    "TestedField",
    "TestedVariable",
    "Index",
    "Operator",
    "EnableSmartApproval",
    "FilterType",
    "FilterVariable",
    "FilterField",
    "FilterValue",
)
APPROVER_FIELDS = ("DelegatedApprover", "DelegationStart", "DelegationEnd", "GroupId", "Unanimous")
VARIABLE_FIELDS = ("Type", "ListVariable", "NetVariable", "AggregateFunction", "AggregateField", "CombineWith")
LOGIC = {"": "all", "all": "all", "any": "any", "custom": "custom"}
STATUSES = {"Pending": "in_approval", "Approved": "approved", "Rejected": "rejected", "Recalled": "recalled"}
NOT_MAPPED = (
    "ApprovalTemplate",
    "RecallTemplate",
    "RejectionTemplate",
    "RequestTemplate",
    "ApprovalRecipients",
    "RejectionRecipients",
    "Parallel",
    "SmartApprovalIgnoresConditionsMet",
)


KNOWN = {
    f"{PREFIX}{name}__c" for name in (*RULE_FIELDS, *CONDITION_FIELDS, *APPROVER_FIELDS, *VARIABLE_FIELDS, *NOT_MAPPED)
} | {"Id", "Guid", "Name"}
NUMBERS = tuple(f"{PREFIX}{name}__c" for name in ("ApprovalStep", "Index", "FilterValue"))


class ApprovalsExport(Value):
    """The policies that an export describes, one for each kind of record, and what was not taken over as it stood."""

    policies: list[Policy]
    remarks: list[Remark]
    read: dict[str, int] = {}
    """How many records the files hold."""

    @computed_field  # type: ignore[prop-decorator]
    @property
    def totals(self) -> dict[str, int]:
        """How many rules were taken over, how many records refused, and how many things not mapped."""
        refused = {(remark.file, remark.record) for remark in self.remarks if remark.kind == "refused"}
        return {
            "taken_over": sum(len(policy.rules) for policy in self.policies), "refused": len(refused),
            "not_mapped": sum(remark.kind == "not_mapped" for remark in self.remarks),
        }  # fmt: skip


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
        self.remarks: list[Remark] = []
        self.locales: dict[str, Locale] = {}
        self.rules, self.conditions = self._rows(folder, RULES), self._rows(folder, CONDITIONS)
        self.chains, self.approvers = self._rows(folder, CHAINS), self._rows(folder, APPROVERS)
        self.variables, self.tracked = self._optional(folder, VARIABLES), self._optional(folder, TRACKED)
        taken: set[str] = set()
        self.chain_names = {id_of(row): slug(row.get("Name", ""), row, taken) for row in self.chains}
        taken = set()
        self.variable_names = {id_of(row): slug(row.get("Name", ""), row, taken) for row in self.variables}
        self.by_id = {id_of(row): row for row in (*self.approvers, *self.variables)}

    def _rows(self, folder: Path, name: str) -> list[Row]:
        table = table_of(folder, name, KNOWN)
        self.locales[name] = number_locale(table, NUMBERS)
        return table.rows

    def _optional(self, folder: Path, name: str) -> list[Row]:
        return self._rows(folder, name) if (folder / name).is_file() else []

    def remark(self, file: str, row: Row, name: str, what: str, kind: Literal["note", "not_mapped"] = "note") -> None:
        column = f"{PREFIX}{name}__c" if name and name[0].isupper() and name != "Name" else name
        self.remarks.append(Remark(file=file, record=id_of(row), field=column, what=what, kind=kind))

    def _refuse(self, file: str, row: Row, error: Invalid) -> None:
        """One record that cannot be read stops itself alone."""
        self.remarks += [
            Remark(file=file, record=id_of(row), field=each["field"], what=each["problem"], kind="refused")
            for each in error.facts["errors"]
        ]

    def read(self) -> ApprovalsExport:
        taken: set[str] = set()
        rules: dict[str, list[Rule]] = {}
        for row in self.rules:
            try:
                kind = self._kind(row)
                rules.setdefault(kind, []).append(_validated(Rule, self._rule(row, kind, taken)))
            except Invalid as error:
                self._refuse(RULES, row, error)
        for row in self.tracked:
            what = "tracked fields are not mapped: mark the conditions that matter as smart"
            self.remark(TRACKED, row, "", what, "not_mapped")
        known = {id_of(row) for row in self.rules}
        for row in self.conditions:
            if field(row, "ApprovalRule") not in known:
                what = f"belongs to {field(row, 'ApprovalRule')!r}, which is not here; left out"
                self.remark(CONDITIONS, row, "ApprovalRule", what, "not_mapped")
        policies = [self._policy(kind, found) for kind, found in rules.items()]
        read = {
            "rules": len(self.rules),
            "conditions": len(self.conditions),
            "approvers": len(self.approvers),
            "chains": len(self.chains),
            "variables": len(self.variables),
        }
        return ApprovalsExport(policies=policies, remarks=self.remarks, read=read)

    def _policy(self, kind: str, rules: list[Rule]) -> Policy:
        rules = sorted(rules, key=lambda rule: (rule.chain or "", rule.step, rule.name))
        used = {rule.chain for rule in rules if rule.chain}
        chains = [{"name": name} for name in self.chain_names.values() if name in used]
        variables = [found for row in self.variables if (found := self._readable_variable(row, kind))]
        return _validated(Policy, {"kind": kind, "rules": rules, "chains": chains, "variables": variables})

    def _readable_variable(self, row: Row, kind: str) -> Variable | None:
        try:
            data = self._variable(row, kind)
            return _validated(Variable, data) if data else None
        except Invalid as error:
            self._refuse(VARIABLES, row, error)
            return None

    @staticmethod
    def _kind(row: Row) -> str:
        target = field(row, "TargetObject")
        if not target:
            raise Invalid.field("TargetObject", "names no kind of record that the rule is for")
        return target.removeprefix("SBQQ__").removesuffix("__c").lower()

    def _flag(self, file: str, row: Row, name: str) -> bool:
        """A checkbox; blank is off."""
        return parse_checkbox(field(row, name), f"{file} {id_of(row)} {name}")

    def _rule(self, row: Row, kind: str, taken: set[str]) -> dict[str, Any]:
        logic = self._logic(row)
        conditions = sorted(self._conditions(row, kind, logic), key=lambda condition: int(condition["index"]))
        rule: dict[str, Any] = {
            "name": slug(row.get("Name", ""), row, taken), "title": row.get("Name") or id_of(row),
            "conditions": conditions, "step": 1, "ask": self._approver(row),
            "active": self._flag(RULES, row, "Active"), "explicit": self._flag(RULES, row, "RequireExplicitApproval"),
            "logic": logic,
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
            if field(row, name) and parse_truth(field(row, name)) is not False:
                self.remark(RULES, row, name, f"{field(row, name)!r} is not mapped", "not_mapped")
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
        logic = LOGIC.get(met.lower())
        if logic is None:
            raise Invalid.field("ConditionsMet", f"{met[:40]!r} is none of All, Any, Custom")
        if logic == "custom":
            return expression or "all"
        if expression:
            self.remark(
                RULES, row, "AdvancedCondition", f"{expression!r} is ignored, because ConditionsMet is {met or 'All'}"
            )
        return logic

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
            return {"group": group, "quorum": "all" if self._flag(APPROVERS, approver, "Unanimous") else "any"}
        if self._flag(APPROVERS, approver, "Unanimous"):
            self.remark(APPROVERS, approver, "Unanimous", "is set without a group, and says nothing about one person")
        self.remark(
            APPROVERS, approver, "Name", f"is asked as the user {name!r}: give a person this id, or change the rule"
        )
        return {"user": name}

    def _conditions(self, rule: Row, kind: str, logic: str) -> Iterator[dict[str, Any]]:
        """The conditions of a rule. An expression names them by their index, so each has one of its own there."""
        mine = [row for row in self.conditions if field(row, "ApprovalRule") == id_of(rule)]
        by_name = logic not in ("all", "any")
        seen: set[int] = set()
        for place, row in enumerate(mine, 1):
            tested = field(row, "TestedField")
            number = self._number(CONDITIONS, row, "Index")
            index = int(number) if number is not None and number == int(number) else 0
            if by_name and (index < 1 or index in seen):
                raise Invalid.field(
                    f"{CONDITIONS} {id_of(row)} Index", "must be a number of its own: the logic names it"
                )
            seen.add(index)
            found: dict[str, Any] = {
                "index": index if by_name else place, "operator": self._operator(CONDITIONS, row),
                "smart": self._flag(CONDITIONS, row, "EnableSmartApproval"),
            }  # fmt: skip
            if tested:
                found["field"] = tested.replace(" ", "_")
            else:
                found["variable"] = self.variable_names.get(field(row, "TestedVariable"))
            filter = field(row, "FilterType").lower()
            if filter == "variable":
                found["other_variable"] = self.variable_names.get(field(row, "FilterVariable"))
            elif filter == "field":
                found["other_field"] = field(row, "FilterField").replace(" ", "_")
            else:
                type = FieldType.NUMBER if not tested else KNOWN_FIELDS.get(kind, {}).get(tested)
                found["value"] = self._value(CONDITIONS, row, type)
            yield found

    def _operator(self, file: str, row: Row) -> str:
        operator = field(row, "Operator").lower().replace(" ", "_")
        if operator not in list(Operator):
            raise Invalid.field(f"{file} {id_of(row)}", f"{operator!r} is no operator we know")
        return operator

    def _value(self, file: str, row: Row, type: FieldType | None) -> Any:
        text = field(row, "FilterValue")
        if not text:
            return None
        if type is FieldType.NUMBER:
            return self._number(file, row, "FilterValue")
        if type is FieldType.BOOL and (truth := parse_truth(text)) is not None:
            return truth
        return self._day(row, "FilterValue") if type is FieldType.DATE else text

    def _variable(self, row: Row, kind: str) -> dict[str, Any] | None:
        name = self.variable_names[id_of(row)]
        if field(row, "Type") == "Discount":
            sums = [self.by_id.get(field(row, which)) for which in ("ListVariable", "NetVariable")]
            columns = [field(s, "AggregateField") if s and not field(s, "FilterField") else "" for s in sums]
            if not all(columns):
                what = "a discount between filtered or combined variables is not mapped"
                self.remark(VARIABLES, row, "Type", what, "not_mapped")
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
        number = parse_number(text, self.locales[file])
        if text and number is None:
            raise Invalid.field(f"{file} {id_of(row)} {name}", f"{text[:40]!r} is not a number")
        return number

    def _day(self, row: Row, name: str) -> date | None:
        text = field(row, name)
        day = parse_day(text)
        if text and day is None:
            raise Invalid.field(f"{id_of(row)} {name}", f"{text[:40]!r} is not a date")
        return day


def _validated(model: type[T], data: dict[str, Any]) -> T:
    try:
        return model.model_validate(data)
    except ValidationError as error:
        raise invalid_fields("it cannot be taken over", error) from None


def _column(name: str) -> str:
    return name.replace(" ", "_")
