"""Leaving Salesforce: approval rules taken over, and tried on any export."""

import csv
from collections.abc import Callable
from datetime import date
from pathlib import Path

import pytest
from typer.testing import CliRunner

from cli.main import app
from domain.approvals.evaluation import evaluate
from domain.approvals.exchange import read_policy, write_policy
from domain.errors import Invalid
from services.imports.importing import Imports
from services.imports.records import records, spreadsheet_safe
from services.imports.salesforce_approvals import APPROVERS, CHAINS, CONDITIONS, RULES, ApprovalsExport, read_approvals
from services.imports.samples import SYSTEM
from tests.conftest import ROOT, SHARED, Bench

SAMPLE = ROOT / "samples" / "salesforce-approvals"
REAL = SHARED / "salesforce_approvals"


def run(*arguments: str, expect: int = 0) -> str:
    done = CliRunner().invoke(app, ["policy", *arguments])
    assert done.exit_code == expect, done.output
    return done.output


def table(file: Path) -> list[dict[str, str]]:
    with file.open(newline="") as stream:
        return list(csv.DictReader(stream))


def evaluated(tmp_path: Path, folder: Path, *more: str, opportunities: str = "Opportunity.csv") -> list[dict[str, str]]:
    (policy,) = read_approvals(folder).policies
    file, out = tmp_path / "policy.yaml", tmp_path / "out.csv"
    file.write_text(write_policy(policy))
    records_file = str(folder / opportunities)
    run("evaluate", "--policy", str(file), "--records", records_file, "--out", str(out), "--today", "2026-11-21", *more)
    return table(out)


def test_rules_conditions_variables_and_approvers_map(tmp_path: Path) -> None:
    export = read_approvals(SAMPLE)
    (policy,) = export.policies
    assert read_policy(write_policy(policy)) == policy
    by_name = {rule.name: rule for rule in policy.rules}
    big = by_name["big-deal"]
    assert (big.chain, big.step, big.logic, big.smart_mode) == ("sales", 2, "all", "literal")
    assert big.ask is not None
    assert (big.ask.group, big.ask.quorum) == ("desk-queue", "all")
    assert by_name["either-way"].logic == "1 AND (2 OR NOT 3)"
    assert not by_name["never-asked"].active
    assert by_name["big-deal"].excluded_statuses == ("in_approval", "approved")
    assert {v.name: v.aggregate.value for v in policy.variables} == {"hardware-total": "sum", "services-total": "sum"}
    said = {(r.file, r.field): r.what for r in export.remarks}
    assert "is ignored, because ConditionsMet is All" in said[(RULES, "sbaa__AdvancedCondition__c")]
    assert "never evaluates the rule" in said[(RULES, "sbaa__ApprovalStep__c")]
    assert "not mapped" in said[("sbaa__ApprovalVariable__c.csv", "sbaa__Type__c")]


def test_each_record_says_which_rule_fired_and_why(tmp_path: Path) -> None:
    found = evaluated(tmp_path, SAMPLE, "--lines", str(SAMPLE / "OpportunityLineItem.csv"))
    fired = {(row["record"], row["rule"]): row for row in found}
    assert fired[("O-1", "big-deal")]["why"] == "Amount 250000 > 100000; hardware-total 120000 > 100000"
    assert fired[("O-1", "big-deal")]["approver"] == "group desk-queue (all)"
    assert ("O-2", "big-deal") not in fired, "its status is excluded"
    assert fired[("O-3", "")]["why"] == "no rule fires"
    assert [row["record"] for row in found] == sorted(row["record"] for row in found), "in the file's order"


async def test_the_policy_is_kept_as_a_draft_once(bench: Bench) -> None:
    await Imports(bench.container.context).salesforce_approvals(SYSTEM, SAMPLE)
    first = await bench.container.policies.draft(SYSTEM.person, "opportunity")
    await Imports(bench.container.context).salesforce_approvals(SYSTEM, SAMPLE)
    assert await bench.container.policies.draft(SYSTEM.person, "opportunity") == first


@pytest.mark.skipif(not REAL.exists(), reason="the real export is not at hand")
def test_a_real_export_is_taken_over_and_evaluated(tmp_path: Path) -> None:
    export = read_approvals(REAL)
    (policy,) = export.policies
    assert (policy.kind, len(policy.rules), len(policy.chains)) == ("opportunity", 4, 1)
    assert sum(len(rule.conditions) for rule in policy.rules) == 4
    assert {rule.ask.user for rule in policy.rules if rule.ask} == {"leehay-ocxon", "leeroy-jenkins", "andi-laser"}
    basic = next(rule for rule in policy.rules if rule.name == "basic-rule-1")
    assert (basic.logic, basic.active, str(basic.conditions[1].value)) == ("1 AND 2", False, "100")
    plain = evaluated(tmp_path, REAL, opportunities="Opportunity_first150.csv")
    assert {row["rule"] for row in plain} == {"chain-approval-rule-first-step", "chain-approval-rule-2nd-step"}
    assert len({row["record"] for row in plain}) == 150
    every = evaluated(tmp_path, REAL, "--include-inactive", opportunities="Opportunity_first150.csv")
    with (REAL / "Opportunity_first150.csv").open() as stream:
        source = {row["Guid"]: row for row in csv.DictReader(stream)}
    basics = {row["record"] for row in every if row["rule"] == "basic-rule-1"}
    assert basics == {id for id, row in source.items() if row["Name"] != "Nada" and float(row["Probability"]) != 100}
    assert not [row for row in every if row["rule"] == "aa-rule-2"], "starts with A and ends with Z: none does"
    bounded = [rule.name for rule in policy.rules if rule.effective_to and rule.effective_to < date(2028, 1, 1)]
    assert sorted(bounded) == ["aa-rule-2", "chain-approval-rule-first-step"]


RULE_HEADER = "Id,Name,sbaa__TargetObject__c,sbaa__Active__c,sbaa__ApprovalStep__c,sbaa__Approver__c,sbaa__ConditionsMet__c,sbaa__EffectiveStartDate__c,sbaa__AdvancedCondition__c"
CONDITION_HEADER = "Id,sbaa__ApprovalRule__c,sbaa__TestedField__c,sbaa__Operator__c,sbaa__FilterType__c,sbaa__FilterValue__c,sbaa__Index__c,sbaa__EnableSmartApproval__c"
FIRST = "R1,Deep,SBQQ__Quote__c,true,1,A1,All,,"
TESTED = "C1,R1,discount_percent,greater than,Value,20,1,true"


def export_of(
    folder: Path, rule: str = FIRST, condition: str = TESTED, header: Callable[[str], str] = str
) -> ApprovalsExport:
    """An export of one rule as given, beside one that is right."""
    second = "R2,Two,SBQQ__Quote__c,true,1,A1,All,,\n"
    (folder / RULES).write_text(f"{header(RULE_HEADER)}\n{rule}\n{second}")
    other = "C9,R2,net_total,greater than,Value,1000.0,1.0,true\n"
    (folder / CONDITIONS).write_text(f"{header(CONDITION_HEADER)}\n{condition}\n{other}")
    (folder / APPROVERS).write_text(f"{header('Id,Name,sbaa__GroupId__c,sbaa__Unanimous__c')}\nA1,Desk,desk,TRUE\n")
    (folder / CHAINS).write_text("Id,Name\n")
    return read_approvals(folder)


@pytest.mark.parametrize("on", ["true", "TRUE", "1", "Yes"])
@pytest.mark.parametrize("header", [str, str.upper, str.lower])
def test_a_checkbox_and_a_column_are_known_however_they_are_written(
    tmp_path: Path, on: str, header: Callable[[str], str]
) -> None:
    export = export_of(tmp_path, FIRST.replace("true", on), TESTED.replace("true", on), header)
    (policy,) = export.policies
    deep = next(rule for rule in policy.rules if rule.name == "deep")
    assert (policy.kind, deep.active, deep.ask and deep.ask.quorum) == ("quote", True, "all")
    assert [(c.field, c.operator, c.value, c.smart) for c in deep.conditions] == [
        ("discount_percent", "greater_than", 20, True)
    ]


@pytest.mark.parametrize(
    ("rule", "condition", "why"),
    [
        (FIRST, TESTED.replace("Value,20", "Value,x"), "not a number"),
        (FIRST, TESTED.replace("Value,20", "Value,1_00.5"), "not a number"),
        (FIRST, TESTED.replace("greater than", "bigger"), "no operator"),
        (FIRST.replace("All,,", "All,01/02/2026,"), TESTED, "not a date"),
        (FIRST.replace("All", "Some"), TESTED, "none of All, Any, Custom"),
        (FIRST.replace("SBQQ__Quote__c", ""), TESTED, "no kind of record"),
        (FIRST.replace("true", "perhaps"), TESTED, "neither true nor false"),
        (FIRST.replace("All,,", "Custom,,1 AND 2"), TESTED.replace(",1,true", ",,true"), "a number of its own"),
        (FIRST.replace("All,,", "Custom,,1 AND 1"), f"{TESTED}\n{TESTED.replace('C1', 'C2')}", "a number of its own"),
    ],
)
def test_a_bad_rule_stops_itself_alone_and_is_listed(tmp_path: Path, rule: str, condition: str, why: str) -> None:
    export = export_of(tmp_path, rule, condition)
    assert [rule.name for policy in export.policies for rule in policy.rules] == ["two"]
    refused = [remark for remark in export.remarks if remark.kind == "refused"]
    assert {remark.record for remark in refused} == {"R1"}
    assert (export.read["rules"], export.totals["taken_over"], export.totals["refused"]) == (2, 1, 1)
    assert any(why in remark.what for remark in refused)


def test_conditions_are_any_or_all_in_any_case_need_no_number_and_none_is_lost(tmp_path: Path) -> None:
    two = (
        f"{TESTED.replace(',1,true', ',,true')}\nC2,R1,net_total,Greater Than,VALUE,5,,true\nC3,R7,x,equals,Value,1,1,"
    )
    export = export_of(tmp_path, FIRST.replace("All", "ANY"), two)
    deep = next(rule for rule in export.policies[0].rules if rule.name == "deep")
    assert (deep.logic, [c.index for c in deep.conditions]) == ("any", [1, 2])
    assert [(r.record, r.kind) for r in export.remarks if r.file == CONDITIONS] == [("C3", "not_mapped")]


RECORD_POLICY = read_policy("""
kind: quote
rules:
- {name: deep, conditions: [{index: 1, field: discount_percent, operator: greater_than, value: 20}], ask: {user: dora}}
- {name: odd, conditions: [{index: 1, field: special, operator: equals, value: true}], ask: {user: dora}}
""")


@pytest.mark.parametrize(
    "text",
    [
        "Id,discount_percent,special\nA,25,true\n",
        "ID,DISCOUNT_PERCENT,SPECIAL\nA,25,TRUE\n",
        "Id;discount_percent;special\nA;25,5;True\n",
        "Id\tdiscount_percent\tspecial\nA\t25.5\ttrue\n",
        "Id,discount_percent,special\nA, 25% ,true \n",
        "sep=;\nId;discount_percent;special\nA;25;true\n",
    ],
)
def test_records_of_every_usual_shape_are_judged_alike(tmp_path: Path, text: str) -> None:
    (tmp_path / "r.csv").write_text(text)
    ((subject, status),) = records(RECORD_POLICY, tmp_path / "r.csv")
    fired = [found.rule.name for found in evaluate(RECORD_POLICY, subject, status, date(2026, 1, 1)) if found.fired]
    assert fired == ["deep", "odd"]


@pytest.mark.parametrize("cell", ["1_00.5", "٢٥", "abc", "25 percent", "1e99"])
def test_a_record_with_no_number_where_one_belongs_is_named(tmp_path: Path, cell: str) -> None:
    (tmp_path / "r.csv").write_text(f"Id,discount_percent\nA,30\nB,{cell}\n")
    with pytest.raises(Invalid, match=r"r\.csv line 3 discount_percent"):
        list(records(RECORD_POLICY, tmp_path / "r.csv"))


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("", "is empty"),
        ("Name\nx\n", "needs an id"),
        ("Id,Name\n1\n", "has 1 values"),
        ('Id,Name\n1,"x\n', "line 2"),
    ],
)
def test_broken_records_are_named_by_line(tmp_path: Path, text: str, what: str) -> None:
    (policy,) = read_approvals(SAMPLE).policies
    file = tmp_path / "r.csv"
    file.write_text(text)
    with pytest.raises(Invalid, match=what):
        list(records(policy, file))


def test_a_broken_row_leaves_no_half_result(tmp_path: Path) -> None:
    (policy,) = read_approvals(SAMPLE).policies
    (tmp_path / "p.yaml").write_text(write_policy(policy))
    (tmp_path / "r.csv").write_text("Id,Name\n1,a\n2\n")
    out = tmp_path / "out.csv"
    run(
        "evaluate",
        "--policy",
        str(tmp_path / "p.yaml"),
        "--records",
        str(tmp_path / "r.csv"),
        "--out",
        str(out),
        expect=1,
    )
    assert not out.exists()


@pytest.mark.parametrize("text", ["=1+1", "+1", "-1", "@x", "\tx"])
def test_cells_are_no_formulas(text: str) -> None:
    assert spreadsheet_safe(text) == "'" + text
    assert spreadsheet_safe("plain") == "plain"


def test_a_backtest_writes_what_would_change(tmp_path: Path) -> None:
    (policy,) = read_approvals(SAMPLE).policies
    old, new, out = tmp_path / "old.yaml", tmp_path / "new.yaml", tmp_path / "out.csv"
    old.write_text(write_policy(policy))
    new.write_text(write_policy(policy).replace("100000", "10"))
    said = run("backtest", "--policy", str(new), "--against", str(old), "--records", str(SAMPLE / "Opportunity.csv"),
               "--out", str(out), "--today", "2026-11-21")  # fmt: skip
    assert "3 records" in said
    assert [row["record"] for row in table(out)] == ["O-1", "O-2", "O-3"]
    assert "fires when" in run("diff", str(old), str(new))
