"""Leaving Salesforce: approval rules taken over, and tried on any export."""

import csv
from datetime import date
from pathlib import Path

import pytest
from typer.testing import CliRunner

from cli import app
from domain.approvals.exchange import read_policy, write_policy
from domain.errors import Invalid
from services.importing import Imports
from services.records import records, spreadsheet_safe
from services.salesforce_approvals import RULES, read_approvals
from services.samples import SYSTEM
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
    await Imports(bench.house.office).salesforce_approvals(SYSTEM, SAMPLE)
    first = await bench.house.policies.draft(SYSTEM.person, "opportunity")
    await Imports(bench.house.office).salesforce_approvals(SYSTEM, SAMPLE)
    assert await bench.house.policies.draft(SYSTEM.person, "opportunity") == first


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
