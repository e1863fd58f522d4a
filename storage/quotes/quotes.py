"""Quotes and products: rows to domain and back."""

from datetime import datetime
from typing import Any

from sqlalchemy import Row, bindparam, insert, union, update
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from domain.approvals.round import round_run
from domain.quotes import Acceptance, Quote, QuoteStatus
from domain.values import Value
from storage.database import execute, readable
from storage.tables import ProductRow, QuoteRow, SeatRow


class StoredQuote(Value):
    """A quote with what the system knows about it."""

    quote: Quote
    version: int
    status: QuoteStatus
    round: int
    editors: tuple[str, ...]
    digest: str
    """What decisions bind to: the content without what the policy of its round calls neutral."""
    valid_until: datetime | None = None
    """When an approval that was not used by then ends."""
    acceptance: Acceptance | None = None
    flags: tuple[dict[str, str], ...] = ()
    created_at: datetime
    changed_at: datetime

    @property
    def run(self) -> str:
        """The workflow id of the newest round."""
        return round_run("quote", self.quote.id, self.round)


class QuoteSummary(Value):
    id: str
    status: QuoteStatus
    version: int
    owner: str
    customer: str
    currency: str
    net_total: Any
    discount_percent: Any
    changed_at: datetime


APPROVED = [s.value for s in QuoteStatus if s.frozen or s is QuoteStatus.APPROVED]
QUOTES = QuoteRow.__table__  # type: ignore[attr-defined]
ONE = select(QUOTES).where(QUOTES.c.id == bindparam("of"))
LOCKED = ONE.with_for_update()
THESE = select(QUOTES.c.id, QUOTES.c.body).where(QUOTES.c.id.in_(bindparam("these", expanding=True)))
ADD, THE_QUOTE = insert(QUOTES), update(QUOTES).where(QUOTES.c.id == bindparam("of"))
SET_STATUS = THE_QUOTE.values({n: bindparam(n) for n in ("status", "changed_at", "valid_until")})
CHANGE = THE_QUOTE.values({c.name: bindparam(c.name) for c in QUOTES.c if c.name not in ("id", "created_at")})


def stored_of(row: Row[Any]) -> StoredQuote:
    return StoredQuote(
        quote=Quote.model_validate(row.body),
        version=row.version,
        status=QuoteStatus(row.status),
        round=row.round,
        editors=tuple(row.editors),
        flags=tuple(row.flags),
        created_at=row.created_at,
        changed_at=row.changed_at,
        digest=row.digest,
        valid_until=row.valid_until,
        acceptance=row.acceptance,
    )


async def load(session: AsyncSession, id: str, lock: bool = False) -> StoredQuote | None:
    row = (await execute(session, LOCKED if lock else ONE, {"of": id})).first()
    return stored_of(row) if row else None


async def load_many(session: AsyncSession, ids: set[str]) -> dict[str, Quote]:
    """Those of these quotes that can be read, as their owners wrote them."""
    rows = await execute(session, THESE, {"these": sorted(ids)})
    return readable(rows, lambda row: Quote.model_validate(row.body))


async def save(session: AsyncSession, stored: StoredQuote, new: bool = False) -> None:
    """Store the quote over what stands; a `new` one where nothing does."""
    id, columns = stored.quote.id, _columns(stored)
    if new:
        await execute(session, ADD, {"id": id, "created_at": stored.created_at, **columns})
    else:
        await execute(session, CHANGE, {"of": id, **columns})


async def set_status(
    session: AsyncSession, id: str, status: QuoteStatus, at: datetime, valid_until: datetime | None = None
) -> None:
    change = {"status": status.value, "changed_at": at, "valid_until": valid_until}
    await execute(session, SET_STATUS, {"of": id, **change})


async def find_expired(session: AsyncSession, now: datetime, limit: int) -> list[str]:
    """Approved quotes whose approval has ended."""
    query = select(QUOTES.c.id).where(QUOTES.c.valid_until <= now).order_by(QUOTES.c.valid_until).limit(limit)
    return list((await execute(session, query)).scalars())


def _columns(stored: StoredQuote) -> dict[str, Any]:
    quote = stored.quote
    return {
        "version": stored.version, "status": stored.status.value, "round": stored.round, "digest": stored.digest,
        "valid_until": stored.valid_until, "owner": quote.owner, "customer_id": quote.customer.id,
        "customer": quote.customer.name, "currency": quote.currency, "net_total": quote.net_total,
        "discount_percent": quote.discount_percent, "editors": list(stored.editors), "flags": list(stored.flags),
        "body": quote.model_dump(mode="json"), "changed_at": stored.changed_at,
        "acceptance": stored.acceptance.model_dump(mode="json") if stored.acceptance else None,
    }  # fmt: skip


async def list_page(
    session: AsyncSession,
    *,
    owner: str | None,
    involving: str | None,
    approved: bool,
    status: str | None,
    after: str,
    limit: int,
) -> list[QuoteSummary]:
    """Quotes by id: all of them, or those the person owns, was asked about, or that are approved."""
    query = select(QuoteRow).where(QuoteRow.id > after).order_by(col(QuoteRow.id)).limit(limit)
    seen: list[Any] = []
    if owner:
        # By the person's own ids, not by asking of every quote whether it is theirs.
        seen.append(select(QuoteRow.id).where(QuoteRow.owner == owner))
    if involving:
        mine = (SeatRow.holder == involving, SeatRow.subject_kind == "quote", col(SeatRow.first_asked_at).is_not(None))
        seen.append(select(SeatRow.subject_id).where(*mine))
    if approved:
        seen.append(select(QuoteRow.id).where(col(QuoteRow.status).in_(APPROVED)))
    if seen:
        query = query.where(col(QuoteRow.id).in_(union(*seen) if len(seen) > 1 else seen[0]))
    if status:
        query = query.where(QuoteRow.status == status)
    return [
        QuoteSummary(
            id=r.id,
            status=QuoteStatus(r.status),
            version=r.version,
            owner=r.owner,
            customer=r.customer,
            currency=r.currency,
            net_total=r.net_total,
            discount_percent=r.discount_percent,
            changed_at=r.changed_at,
        )
        for r in (await session.exec(query)).all()
    ]


async def save_product(
    session: AsyncSession,
    id: str,
    *,
    code: str,
    name: str,
    family: str | None,
    active: bool,
    fields: dict[str, Any],
) -> str:
    """Store a product; says whether it is `new`, `changed` or `unchanged`."""
    values: dict[str, Any] = {
        "code": code,
        "name": name,
        "family": family,
        "active": active,
        "fields": fields,
    }
    row = await session.get(ProductRow, id)
    if row is None:
        session.add(ProductRow(id=id, **values))
        return "new"
    if all(getattr(row, key) == value for key, value in values.items()):
        return "unchanged"
    for key, value in values.items():
        setattr(row, key, value)
    return "changed"
