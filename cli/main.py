"""`dealwright …`: the command line. Each command reads its options, calls a service, and shows what came of it."""

import asyncio
import csv
import json
import os
import signal
import threading
from collections.abc import Awaitable, Callable, Iterable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, TypeVar

import typer
from pydantic import ValidationError
from rich.panel import Panel
from rich.table import Table
from sqlalchemy.exc import SQLAlchemyError
from temporalio.service import RPCError

from app import logs
from app.container import Application, build
from app.settings import Settings, settings
from cli.backup import File as BackupFile
from cli.backup import put_back, show_backup, show_restored, take_backup
from cli.dev import CannotStart, Ports, Stack
from cli.erp import ErpPort, erp, installed, prepared
from cli.output import AWAY, DEFAULT_HOME, HomeOption, Json, errors, fail, progress, screen
from cli.parts import start_part, stop_part
from domain.approvals.compare import Backtest, differences, effect
from domain.approvals.evaluation import evaluate
from domain.approvals.exchange import read_policy, write_policy
from domain.approvals.policy import Policy
from domain.audit import ChainCheck
from domain.errors import Refusal, Unavailable
from domain.people import Person, Role
from domain.problems import invalid_fields
from services.imports.importing import ImportReport, Imports
from services.imports.records import records, spreadsheet_safe
from services.imports.salesforce import Remark
from services.imports.samples import FOLDER as SAMPLES
from services.imports.samples import SYSTEM, load
from storage import migrate as migrations_
from storage.runs import audit_log
from workflows.search import register_attributes

app = typer.Typer(no_args_is_help=True, add_completion=False, help="Approvals, orders and deals on durable workflows.")
imports = typer.Typer(no_args_is_help=True, help="Bring data over from other systems.")
policy = typer.Typer(no_args_is_help=True, help="Check, publish and export approval policies.")
audit = typer.Typer(no_args_is_help=True, help="The audit audit_log.")
users = typer.Typer(no_args_is_help=True, help="Accounts, passwords and API keys.")
for name, group in (("import", imports), ("policy", policy), ("audit", audit), ("users", users), ("erp", erp)):
    app.add_typer(group, name=name)

T = TypeVar("T")


def found_settings(home: Path) -> Settings:
    """The environment's settings; without one, those of the stack in `home`."""
    if "DEALWRIGHT_SECRET" not in os.environ:
        if not (home / "secret.key").exists():
            raise fail(f"There is no Dealwright in {home}/ and none in the environment. Start one: make run")
        os.environ.update(Stack(home.resolve(), saved_ports(home)).environment())
    return settings()


def saved_ports(home: Path) -> Ports:
    file = home / "ports.json"
    return Ports(**json.loads(file.read_text())) if file.exists() else Ports()


def with_application(home: Path, act: Callable[[Application], Awaitable[T]]) -> T:
    """Run one act against the database and Temporal of `home` or the environment."""
    found = found_settings(home)
    logs.configure(json=False, level=40)

    async def run() -> T:
        container = build(found)
        try:
            return await act(container)
        finally:
            await container.close()

    with refusing():
        return asyncio.run(run())


@contextmanager
def refusing() -> Iterator[None]:
    """A refusal becomes a line for each field and an exit code."""
    try:
        yield
    except Refusal as refusal:
        for item in refusal.facts.get("errors", [])[:20]:
            errors.print(f"  [red]{item['field']}[/]: {item['problem']}", highlight=False, soft_wrap=True)
        raise fail(refusal.sentence, AWAY if isinstance(refusal, Unavailable) else 1) from None
    except (RPCError, SQLAlchemyError, OSError, RuntimeError) as error:
        if isinstance(error, RuntimeError) and "connect" not in str(error):
            raise
        raise fail(away_sentence(error), AWAY) from None


def away_sentence(error: Exception) -> str:
    """What does not answer, in one line."""
    words = next(iter(str(error).strip().splitlines()), "") or type(error).__name__
    if isinstance(error, SQLAlchemyError):
        return f"The database does not answer: {words}"
    if isinstance(error, RPCError | RuntimeError):
        return f"Temporal does not answer: {words}"
    return f"Something that is needed does not answer: {words}"


class WhichErp(StrEnum):
    OUTBOX = "outbox"
    TRYTON = "tryton"


@app.command()
def dev(
    home: HomeOption = DEFAULT_HOME,
    api_port: Annotated[int, typer.Option(help="API and console")] = Ports.api,
    temporal_port: Annotated[int, typer.Option(help="Temporal")] = Ports.temporal,
    ui_port: Annotated[int, typer.Option(help="Temporal's UI")] = Ports.ui,
    mail_port: Annotated[int, typer.Option(help="The mail catcher")] = Ports.mail,
    replies_port: Annotated[int, typer.Option(help="The mail server for replies")] = Ports.replies,
    samples: Annotated[bool, typer.Option(help="Load the sample company into an empty database")] = True,
    erp: Annotated[WhichErp, typer.Option(help="Where orders go")] = WhichErp.OUTBOX,
    erp_port: ErpPort = Ports.erp,
    worker_port: Annotated[int, typer.Option(help="Health and metrics of the worker")] = Ports.worker,
    notify_port: Annotated[
        int, typer.Option(help="Health and metrics of the worker that sends messages")
    ] = Ports.notify,
) -> None:
    """Run everything in one terminal: engine with UI, database, worker, API, console. Ctrl-C stops all of it."""
    home = home.resolve()
    home.mkdir(parents=True, exist_ok=True)
    ports = Ports(api_port, temporal_port, ui_port, mail_port, replies_port, erp_port, worker_port, notify_port)
    stack = Stack(home, ports, erp=prepared(home, erp_port) if erp is WhichErp.TRYTON else None)
    stop = threading.Event()
    for name in (signal.SIGINT, signal.SIGTERM):
        signal.signal(name, lambda *_: stop.set())
    try:
        with progress("Starting") as say, stack.running(say):
            (home / "ports.json").write_text(json.dumps(vars(ports)))
            os.environ.update(stack.environment())
            if samples:
                say("the sample company")
                with_application(home, load_samples)
            say("ready")
            for left in stack.leftovers:
                errors.print(f"[yellow]{left} still ran from the last time, and was ended[/]")
            errors.print(welcome(stack, samples))
            while not stop.wait(1):
                for stopped in stack.stop_what_should():
                    errors.print(f"[yellow]{stopped} was stopped[/]; dealwright start lets it run again")
                for died in stack.revive():
                    errors.print(f"[yellow]{died} died and was started again; see {home / died}.log")
            say("stopping")
    except CannotStart as error:
        raise fail(str(error)) from None
    errors.print("Stopped. Everything is kept in", str(home))


app.command("stop")(stop_part)
app.command("start")(start_part)


async def load_samples(container: Application) -> None:
    if await load(container.context, container.access):
        folder = SAMPLES / "salesforce"
        await Imports(container.context).salesforce(SYSTEM, folder, "rita", "EUR")


def welcome(stack: Stack, samples: bool) -> Panel:
    grid = Table.grid(padding=(0, 2))
    grid.add_row("Console", f"[link]{stack.api_url}[/]")
    grid.add_row("API", f"{stack.api_url}/docs")
    grid.add_row("Temporal UI", stack.ui_url)
    grid.add_row("Mailbox", f"{stack.api_url}/mailbox")
    if stack.erp:
        grid.add_row("Tryton", f"{stack.erp.url}: `dealwright erp sales` and `dealwright erp ship ORDER`")
    if samples:
        who = (
            "rita (rep), dora, fabio, omar (approvers), adam (admin), dina (orders), bruno (back office), "
            "freyja (finance), otto (ops)"
        )
        grid.add_row("Sign in as", who)
        grid.add_row("Password", "dealwright-demo")
        grid.add_row("Next", "Sign in as rita, open a quote, submit it; then as dora approve it from the inbox.")
    return Panel(grid, title="Dealwright is running", subtitle="Ctrl-C stops everything", border_style="green")


@app.command()
def tour(
    home: Annotated[Path | None, typer.Option(help="Keep the throw-away stack here")] = None,
    erp: Annotated[WhichErp, typer.Option(help="Who takes the orders over")] = WhichErp.OUTBOX,
) -> None:
    """Play the whole story against a throw-away stack, checking every step; exit 0 only if all of it held."""
    from cli.tour import play

    if not play(home, screen, installed(DEFAULT_HOME, Ports.free().erp) if erp is WhichErp.TRYTON else None):
        raise typer.Exit(1)


@app.command()
def migrate(home: HomeOption = DEFAULT_HOME) -> None:
    """Bring the database to the newest version."""
    migrations_.migrate(found_settings(home).database_url)
    screen.print("The database is at the newest version.")


@app.command("backup")
def backup_database(file: BackupFile, home: HomeOption = DEFAULT_HOME) -> None:
    """Copy the database to a file while everything runs. The keys are not in it."""
    show_backup(file, with_application(home, lambda container: take_backup(container, file)))


@app.command("restore")
def restore_database(
    file: BackupFile,
    home: HomeOption = DEFAULT_HOME,
    force: Annotated[bool, typer.Option("--force", help="Although workers seem to run")] = False,
) -> None:
    """Put a backup in the database's place. Stop API and workers first; afterwards run the doctor."""
    show_restored(with_application(home, lambda container: put_back(container, file, force)))


@app.command()
def attributes(home: HomeOption = DEFAULT_HOME) -> None:
    """Register our search attributes with a Temporal that does not have them yet."""

    async def register(container: Application) -> int:
        return await register_attributes(await container.temporal.client(lazy=False))

    screen.print(f"{with_application(home, register)} search attributes registered.")


@app.command()
def migrations() -> None:
    """Check that the migrations lead to the tables the code has."""
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        url = f"sqlite:///{folder}/check.db"
        migrations_.migrate(url)
        if found := migrations_.differences(url):
            raise fail(f"The migrations do not lead to the tables: {found[0]}")
    screen.print("The migrations lead to the tables.")


@app.command()
def samples(home: HomeOption = DEFAULT_HOME) -> None:
    """Load the sample company into an empty database."""
    with_application(home, load_samples)


@imports.command("salesforce-approvals")
def import_salesforce_approvals(
    folder: Annotated[Path, typer.Argument(help="A folder of CSV files", file_okay=False, exists=True)],
    out: Annotated[Path | None, typer.Option(help="Write each policy as YAML here")] = None,
    home: HomeOption = DEFAULT_HOME,
    as_json: Json = False,
) -> None:
    """Rules of Salesforce Advanced Approvals, as the draft of a policy for each kind of record."""
    export = with_application(home, lambda container: Imports(container.context).salesforce_approvals(SYSTEM, folder))
    for found in export.policies if out else ():
        out.mkdir(parents=True, exist_ok=True)  # type: ignore[union-attr]
        (out / f"policy-{found.kind}.yaml").write_text(write_policy(found))  # type: ignore[operator]
    if as_json:
        screen.print_json(export.model_dump_json())
        return
    for found in export.policies:
        active = sum(rule.active for rule in found.rules)
        screen.print(f"Draft of kind {found.kind}: {len(found.rules)} rules, {active} of them active.")
    screen.print("Read: " + ", ".join(f"{count} {name}" for name, count in export.read.items()) + ".")
    if refused := export.totals["refused"]:
        screen.print(f"[bold]{refused} records could not be read and are missing:[/] they are listed first.")
    screen.print(f"{export.totals['not_mapped']} things are not mapped.")
    show_remarks(export.remarks)


def show_remarks(remarks: list[Remark]) -> None:
    if remarks:
        notes = Table("kind", "file", "record", "field", "what", title="Not taken over as it stood")
        for remark in sorted(remarks, key=lambda remark: KINDS.index(remark.kind)):
            notes.add_row(remark.kind.replace("_", " "), remark.file, remark.record, remark.field, remark.what)
        screen.print(notes)


KINDS = ("refused", "not_mapped", "note")


@imports.command("salesforce")
def import_salesforce(
    folder: Annotated[Path, typer.Argument(help="A folder of CSV files", file_okay=False, exists=True)],
    owner: Annotated[str, typer.Option(help="The rep who will own the quotes")] = "rita",
    currency: Annotated[str, typer.Option(help="Where the export names none")] = "USD",
    home: HomeOption = DEFAULT_HOME,
    as_json: Json = False,
) -> None:
    """Products and quotes out of a Salesforce CPQ export. Running it again changes nothing."""
    with progress("Importing") as say:
        report = with_application(
            home, lambda container: Imports(container.context).salesforce(SYSTEM, folder, owner, currency, say)
        )
    show_import(report, folder, as_json)


@imports.command("sales-orders")
def import_sales_orders(
    folder: Annotated[Path, typer.Argument(help="A folder of exported tables", file_okay=False, exists=True)],
    owner: Annotated[str, typer.Option(help="The rep who will own the quotes")] = "rita",
    currency: Annotated[str, typer.Option(help="The export names none")] = "USD",
    home: HomeOption = DEFAULT_HOME,
    as_json: Json = False,
) -> None:
    """Orders of an AdventureWorks-like database, as quotes to be accepted and split anew."""
    with progress("Importing") as say:
        report = with_application(
            home, lambda container: Imports(container.context).sales_orders(SYSTEM, folder, owner, currency, say)
        )
    show_import(report, folder, as_json)


def show_import(report: ImportReport, folder: Path, as_json: bool) -> None:
    if as_json:
        screen.print_json(report.model_dump_json())
        return
    kinds = ("new", "changed", "unchanged", "refused")
    table = Table("", "read", *kinds, title=f"Imported {folder.name}")
    for what, counts in (("products", report.products), ("quotes", report.quotes)):
        table.add_row(what, str(report.read.get(what, 0)), *(str(counts.get(kind, 0)) for kind in kinds))
    screen.print(
        table, f"{report.lines} of {report.read.get('lines', 0)} lines taken over, {report.not_mapped} not mapped"
    )
    show_remarks(report.remarks)


LinesFile = Annotated[Path | None, typer.Option(exists=True, dir_okay=False, help="Their lines, naming the record")]
Today = Annotated[datetime | None, typer.Option(formats=["%Y-%m-%d"], help="Judge as of this day")]
Inactive = Annotated[bool, typer.Option("--include-inactive", help="Let inactive rules fire too")]


def policy_in(file: Path, include_inactive: bool = False) -> Policy:
    found = read_policy(file.read_text(errors="replace"))
    rules = tuple(rule.evolve(active=True) for rule in found.rules)
    return found.with_rules(rules) if include_inactive else found


@contextmanager
def spreadsheet(out: Path, *columns: str) -> Iterator[Callable[[Iterable[str]], None]]:
    """A CSV file that replaces `out` once it is whole."""
    half = out.with_name(f".{out.name}.half")
    with half.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(columns)
        yield lambda cells: writer.writerow([spreadsheet_safe(cell) for cell in cells])
    half.replace(out)


@policy.command("evaluate")
def policy_evaluate(
    policy_file: Annotated[Path, typer.Option("--policy", exists=True, dir_okay=False, help="A policy as YAML")],
    records_file: Annotated[Path, typer.Option("--records", exists=True, dir_okay=False, help="CSV with an id column")],
    out: Annotated[Path, typer.Option(help="CSV to write: a line for each rule that fired")],
    lines: LinesFile = None,
    today: Today = None,
    include_inactive: Inactive = False,
) -> None:
    """Say for each record of an export which rules fire and why. Nothing is stored."""
    with refusing():
        judged, day = policy_in(policy_file, include_inactive), (today or datetime.now(UTC)).date()
        count = fired = 0
        with (
            progress("Evaluating") as say,
            spreadsheet(out, "record", "rule", "title", "chain", "step", "approver", "why") as write,
        ):
            for subject, status in records(judged, records_file, lines):
                count += 1
                say(f"{count:,} records") if count % 500 == 0 else None
                hits = [found for found in evaluate(judged, subject, status, day) if found.fired]
                fired += bool(hits)
                for hit in hits:
                    rule, why = hit.rule, "; ".join(hit.reasons)
                    asked = rule.ask.label if rule.ask else ""
                    write((subject.id, rule.name, rule.heading, rule.chain_name, str(rule.step), asked, why))
                if not hits:
                    write((subject.id, "", "", "", "", "", "no rule fires"))
    screen.print(f"{fired:,} of {count:,} records need an approval; see {out}")


@policy.command("backtest")
def policy_backtest(
    policy_file: Annotated[Path, typer.Option("--policy", exists=True, dir_okay=False, help="The policy to try")],
    records_file: Annotated[Path, typer.Option("--records", exists=True, dir_okay=False, help="CSV with an id column")],
    out: Annotated[Path, typer.Option(help="CSV to write: a line for each record")],
    against: Annotated[Path | None, typer.Option(exists=True, dir_okay=False, help="The policy of today")] = None,
    lines: LinesFile = None,
    today: Today = None,
    include_inactive: Inactive = False,
) -> None:
    """Compare what two policies would ask of each record of an export: added, removed, and the load per approver."""
    with refusing():
        tried, day = policy_in(policy_file, include_inactive), (today or datetime.now(UTC)).date()
        before = policy_in(against, include_inactive) if against else None
        total = Backtest()
        with progress("Backtesting") as say, spreadsheet(out, "record", "title", "added", "removed", "kept") as write:
            for subject, status in records(tried, records_file, lines):
                found = effect(before, tried, subject, status, day)
                total = total.plus(found)
                say(f"{total.records:,} records") if total.records % 500 == 0 else None
                parts = (found.added, found.removed, found.kept)
                write((found.record, found.title, *("; ".join(part) for part in parts)))
    screen.print(
        f"{total.records:,} records: {total.changed:,} change, {total.added:,} approvals added, "
        f"{total.removed:,} removed; see {out}"
    )
    table = Table("approver", "before", "now", title="How often each would be asked")
    for who in sorted({*total.load, *total.load_before}):
        table.add_row(who, f"{total.load_before.get(who, 0):,}", f"{total.load.get(who, 0):,}")
    screen.print(table)


@policy.command("diff")
def policy_diff(
    old: Annotated[Path, typer.Argument(exists=True, dir_okay=False)],
    new: Annotated[Path, typer.Argument(exists=True, dir_okay=False)],
) -> None:
    """Say in words what one policy changes of another."""
    with refusing():
        found = differences(policy_in(old), policy_in(new))
    for sentence in found or ["Nothing differs."]:
        screen.print(sentence, highlight=False, soft_wrap=True)


@policy.command("check")
def policy_check(
    file: Annotated[Path, typer.Argument(exists=True, dir_okay=False)], home: HomeOption = DEFAULT_HOME
) -> None:
    """Say what forbids publishing a policy, and what deserves a second look."""

    async def check(container: Application) -> tuple[list[dict[str, str]], list[dict[str, str]]]:
        read = read_policy(file.read_text(errors="replace"))
        return await container.policies.check(read), await container.policies.suspicious(read)

    found, suspicious = with_application(home, check)
    for warning in suspicious:
        errors.print(f"  [yellow]{warning['field']}[/]: {warning['problem']}", highlight=False, soft_wrap=True)
    for problem in found:
        errors.print(f"  [red]{problem['field']}[/]: {problem['problem']}", highlight=False, soft_wrap=True)
    if found:
        raise fail(f"{len(found)} problem(s) forbid publishing {file.name}.")
    screen.print(f"{file.name} can be published.")


@policy.command("publish")
def policy_publish(
    file: Annotated[Path, typer.Argument(exists=True, dir_okay=False)], home: HomeOption = DEFAULT_HOME
) -> None:
    """Publish a policy as the next version of its kind."""

    async def publish(container: Application) -> Any:
        return await container.policies.publish_policy(SYSTEM, read_policy(file.read_text(errors="replace")))

    stored = with_application(home, publish)
    screen.print(f"Version {stored.version} of the {stored.policy.kind} policy is in force.")


@policy.command("export")
def policy_export(kind: str = "quote", home: HomeOption = DEFAULT_HOME) -> None:
    """Print the policy in force as YAML."""
    stored = with_application(home, lambda container: container.policies.current(SYSTEM.person, kind))
    typer.echo(write_policy(stored.policy), nl=False)


@audit.command("verify")
def audit_verify(
    heads: Annotated[
        Path | None, typer.Option(help="Heads exported before; without it the newest daily export")
    ] = None,
    home: HomeOption = DEFAULT_HOME,
) -> None:
    """Walk the audit chain; find an edit, a gap, a swap, and by exported heads a cut tail."""

    async def verify(container: Application) -> tuple[int, list[str]]:
        check, count, found = ChainCheck(container.context.audit_key), 0, []
        async with container.database.reading() as session:
            async for entry, mac in audit_log.everything(session):
                count += 1
                if flaw := check.find_flaw(entry, mac):
                    found.append(f"{flaw.subject} #{flaw.seq}: {flaw.what}")
        if exported := heads or container.anchors.newest_export():
            found += [
                f"{mark.subject} #{mark.seq}: was there when the heads were exported, and is not now"
                async for mark in container.anchors.find_missing(exported)
            ]
        return count, found

    count, found = with_application(home, verify)
    for flaw in found:
        errors.print(f"  [red]{flaw}[/]", highlight=False)
    if found:
        raise fail(f"{len(found)} flaw(s) in {count} entries.")
    screen.print(f"{count} entries, every one in its place.")


@audit.command("heads")
def audit_heads(out: Path, home: HomeOption = DEFAULT_HOME) -> None:
    """Write the last entry of every subject to a file; keep it away from the database."""

    count = with_application(home, lambda container: container.anchors.write(out))
    screen.print(f"{count} heads written to {out}.")


@users.command("create")
def users_create(
    user: str,
    name: str,
    role: Annotated[list[Role], typer.Option(help="May be given several times")],
    email: str = "",
    manager: str | None = None,
    home: HomeOption = DEFAULT_HOME,
) -> None:
    """Add a person; then give them a password or a key. The first admin comes into being this way."""

    async def create(container: Application) -> Person:
        try:
            wanted = Person(id=user, name=name, email=email, manager=manager, roles=tuple(role))
        except ValidationError as error:
            raise invalid_fields("the person cannot be added", error) from None
        return await container.people.put(SYSTEM, wanted, None)

    screen.print(f"{with_application(home, create).name} is a user now.")


@app.command("rate")
def set_rate(
    currency: str,
    rate: Annotated[str, typer.Argument(help="Units of the company's currency for one")],
    valid_from: Annotated[datetime, typer.Option(formats=["%Y-%m-%d"])],
    home: HomeOption = DEFAULT_HOME,
) -> None:
    """Set an exchange rate from a day on."""
    with_application(home, lambda container: container.policies.set_rate(SYSTEM, currency, valid_from.date(), rate))
    screen.print(f"From {valid_from:%Y-%m-%d}, one {currency} is {rate} {found_settings(home).company_currency}.")


@users.command("password")
def users_password(
    user: str,
    password: Annotated[
        str, typer.Option(prompt=True, hide_input=True, confirmation_prompt=True, envvar="NEW_PASSWORD")
    ],
    home: HomeOption = DEFAULT_HOME,
) -> None:
    """Give a user a password; what they were signed in with ends."""
    with_application(home, lambda container: container.access.set_password(SYSTEM, user, password))
    screen.print(f"{user} has a new password.")


@users.command("key")
def users_key(user: str, note: str = "", home: HomeOption = DEFAULT_HOME) -> None:
    """Make an API key for a user. It is shown once."""
    typer.echo(with_application(home, lambda container: container.access.new_key(SYSTEM, user, note)))


@users.command("revoke")
def users_revoke(prefix: str, home: HomeOption = DEFAULT_HOME) -> None:
    """End an API key: PREFIX is the part between `dw_` and the next underscore."""
    with_application(home, lambda container: container.access.revoke_key(SYSTEM, prefix))
    screen.print(f"Key {prefix} is revoked.")


@app.command()
def doctor(
    home: HomeOption = DEFAULT_HOME,
    mend: Annotated[bool, typer.Option("--mend", help="Mend what a program can mend")] = False,
    as_json: Json = False,
) -> None:
    """Compare database, Temporal and ERP: what differs? Exit 0: nothing; 1: something; 2: it could not look."""
    from cli.doctor import BY_HAND, Doctor

    async def visit(container: Application) -> tuple[list[Any], list[Any], list[Any]]:
        with progress("Examining") as say:
            ill = Doctor(container, await container.temporal.client(lazy=False), say)
            found = await ill.examine()
            recovered = await ill.mend(found) if mend else []
            left = await ill.examine() if mend and found else found
        return found, recovered, left

    found, recovered, left = with_application(home, visit)
    if as_json:
        told = {"found": found, "recovered": recovered, "left": left}
        screen.print_json(data={name: [each.model_dump(mode="json") for each in of] for name, of in told.items()})
    else:
        table = Table("What", "Of", "", title="Differences")
        for finding in found:
            table.add_row(finding.words, finding.of, finding.detail)
        screen.print(table if found else "Database and Temporal agree, and so does the ERP as far as it was compared.")
        for act in recovered:
            told = act.command
            screen.print(f"Applied again out of a history: {told.verb} by {told.actor} on {told.run}")
        if left and (only_people := sum(finding.kind in BY_HAND for finding in left)):
            errors.print(f"{only_people} of them no program can mend.")
    if left:
        hint = "" if mend else " Mend them: dealwright doctor --mend"
        raise fail(f"{len(left)} difference(s).{hint}")


@app.command()
def replay(
    folder: Annotated[Path | None, typer.Argument(help="Stored histories; without it, the live namespace")] = None,
    home: HomeOption = DEFAULT_HOME,
) -> None:
    """Replay histories against this code: what would a deploy break?"""
    from cli.replay import replay_folder, replay_namespace

    with progress("Replaying") as say:
        if folder:
            done, broken = asyncio.run(replay_folder(folder, say))
        else:
            done, broken = with_application(home, lambda container: replay_namespace(container, say))
    for id, why in broken:
        errors.print(f"  [red]{id}[/]: {why}", highlight=False, soft_wrap=True)
    if broken:
        raise fail(f"{len(broken)} of {done} histories do not replay.")
    screen.print(f"{done} histories replayed.")


if __name__ == "__main__":
    app()
