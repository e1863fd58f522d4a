"""Takes an export over: products and quotes, once however often it is run."""

from collections.abc import Callable
from pathlib import Path

from domain.errors import Invalid
from domain.people import Role
from domain.quotes import QuoteStatus
from domain.values import Value
from services.context import ServiceContext
from services.imports.sales_orders import HEADERS, read_sales_orders
from services.imports.salesforce import QUOTES, Export, Remark, read_export
from services.imports.salesforce_approvals import ApprovalsExport, read_approvals
from services.runs.commands import Caller
from storage.approvals import policies
from storage.people import people
from storage.quotes import quotes
from storage.quotes.quotes import StoredQuote


class ImportReport(Value):
    """What an import did, and what it could not take over and why."""

    read: dict[str, int] = {}
    """How many products, quotes and lines the files hold."""
    products: dict[str, int]
    quotes: dict[str, int]
    """How many are new, changed, unchanged or refused."""
    lines: int
    """How many lines were taken over."""
    not_mapped: int = 0
    """How many things were kept as they could be, and are listed with their reason."""
    remarks: list[Remark]


class Imports:
    def __init__(self, context: ServiceContext) -> None:
        self._context = context

    async def salesforce_approvals(self, caller: Caller, folder: Path) -> ApprovalsExport:
        """The policies of an export, each kept as the draft of its kind. A second run changes nothing."""
        export = read_approvals(folder)
        context = self._context
        async with context.database.writing() as session:
            for policy in export.policies:
                known = await policies.draft(session, policy.kind)
                if known is None or known.policy != policy:
                    await policies.save_draft(session, policy, caller.person.id, context.clock())
        return export

    async def salesforce(
        self, caller: Caller, folder: Path, owner: str, currency: str, step: Callable[[str], None] = lambda _: None
    ) -> ImportReport:
        """A Salesforce CPQ export. Raises Invalid."""
        step("reading")
        return await self._take(caller, read_export(folder, owner, currency), QUOTES, owner, step)

    async def sales_orders(
        self, caller: Caller, folder: Path, owner: str, currency: str, step: Callable[[str], None] = lambda _: None
    ) -> ImportReport:
        """Orders of an AdventureWorks-like database, as quotes. Raises Invalid."""
        step("reading")
        return await self._take(caller, read_sales_orders(folder, owner, currency), HEADERS, owner, step)

    async def _take(
        self, caller: Caller, export: Export, file: str, owner: str, step: Callable[[str], None]
    ) -> ImportReport:
        """All of the export in one transaction, or nothing of it. Raises Invalid."""
        context = self._context
        made: dict[str, dict[str, int]] = {"products": {}, "quotes": {}}
        remarks = list(export.remarks)
        async with context.database.writing() as session:
            person = await people.load_person(session, owner)
            if person is None or not person.has(Role.REP):
                raise Invalid.field("owner", f"{owner!r} is not an active person with the role rep")
            for product in export.products:
                step(product.name)
                done = await quotes.save_product(
                    session,
                    product.id,
                    code=product.code,
                    name=product.name,
                    family=product.family,
                    active=product.active,
                    fields=product.fields,
                )
                _count(made["products"], done)
            for quote in export.quotes:
                step(quote.id)
                known = await quotes.load(session, quote.id, lock=True)
                if known and known.status not in (QuoteStatus.DRAFT, QuoteStatus.RECALLED, QuoteStatus.REJECTED):
                    if known.quote != quote:
                        what = f"is {known.status.value} here and was not changed"
                        remarks.append(Remark(file=file, record=quote.id, field="", what=what))
                    _count(made["quotes"], "unchanged")
                    continue
                flags = tuple(quote.contradictions())
                if known and known.quote == quote:
                    _count(made["quotes"], "unchanged")
                    continue
                now = context.clock()
                fresh = StoredQuote(
                    quote=quote,
                    version=0,
                    status=QuoteStatus.DRAFT,
                    round=0,
                    editors=(),
                    digest=quote.digest,
                    created_at=now,
                    changed_at=now,
                )
                update = {
                    "quote": quote,
                    "status": QuoteStatus.DRAFT,
                    "flags": flags,
                    "changed_at": now,
                    "digest": quote.digest,
                }
                stored = known or fresh.evolve(**update)
                stored = stored.evolve(version=stored.version + 1)
                await context.audit(
                    session, caller, f"quote:{quote.id}", "imported", quote.digest, quote, version=stored.version
                )
                await quotes.save(session, stored, new=known is None)
                _count(made["quotes"], "changed" if known else "new")
                remarks += [Remark(file=file, record=quote.id, field=f["field"], what=f["problem"]) for f in flags]
        if refused := {remark.record for remark in remarks if remark.kind == "refused"}:
            made["quotes"]["refused"] = len(refused)
        return ImportReport(
            read=export.read,
            products=made["products"],
            quotes=made["quotes"],
            remarks=remarks,
            lines=sum(len(quote.lines) for quote in export.quotes),
            not_mapped=sum(remark.kind == "not_mapped" for remark in remarks),
        )


def _count(counts: dict[str, int], what: str) -> None:
    counts[what] = counts.get(what, 0) + 1
