"""A plain FastAPI application: quotes, three approvals in two chains, an audit chain, letters. DB_URL names its database."""

import hashlib
import json
import os
import uuid
from datetime import UTC, datetime
from decimal import Decimal
from typing import Annotated, Any

import jwt
from fastapi import Depends, FastAPI, Header, HTTPException
from pydantic import BaseModel, Field
from sqlalchemy import (
    JSON,
    Column,
    DateTime,
    Integer,
    MetaData,
    String,
    Table,
    create_engine,
    event,
    insert,
    select,
    update,
)

SECRET, URL = os.environ["PEER_SECRET"], os.environ["DB_URL"]
CHAINS = (("first", "one", 1, "dora"), ("second", "one", 2, "fabio"), ("third", "two", 1, "lara"))
meta = MetaData()
users = Table("person", meta, Column("id", String(64), primary_key=True), Column("email", String(200)))
quotes = Table(
    "quote", meta, Column("id", String(64), primary_key=True), Column("owner", String(64)), Column("status", String(20)),
    Column("version", Integer), Column("digest", String(64)), Column("net_total", String(40)), Column("body", JSON),
)  # fmt: skip
approvals = Table(
    "approval", meta, Column("id", String(40), primary_key=True), Column("quote", String(64), index=True),
    Column("rule", String(20)), Column("chain", String(20)), Column("step", Integer), Column("holder", String(64), index=True),
    Column("status", String(20)), Column("decided_at", DateTime(timezone=True)),
)  # fmt: skip
audit = Table(
    "audit", meta, Column("quote", String(64), primary_key=True), Column("seq", Integer, primary_key=True),
    Column("actor", String(64)), Column("verb", String(20)), Column("facts", JSON), Column("mac", String(64)),
)  # fmt: skip
letters = Table(
    "letter", meta, Column("id", Integer, primary_key=True), Column("recipient", String(200)), Column("subject", String(200)),
    Column("body", String(500)), Column("sent", Integer, index=True),
)  # fmt: skip
engine = create_engine(URL, pool_size=20, max_overflow=20)
if URL.startswith("sqlite"):

    @event.listens_for(engine, "connect")
    def configure(connection: Any, _: Any) -> None:
        connection.isolation_level = None
        for pragma in ("journal_mode=WAL", "synchronous=FULL", "busy_timeout=30000"):
            connection.execute(f"PRAGMA {pragma}")

    @event.listens_for(engine, "begin")
    def begin(connection: Any) -> None:
        connection.exec_driver_sql("BEGIN IMMEDIATE")


class Line(BaseModel, extra="ignore"):
    id: str
    product: str
    quantity: Annotated[Decimal, Field(gt=0)]
    list_price: Annotated[Decimal, Field(ge=0)]
    discount_percent: Annotated[Decimal, Field(ge=0, le=100)] = Decimal(0)


class Quote(BaseModel, extra="ignore"):
    id: str
    owner: str
    currency: str
    lines: list[Line]


class Decision(BaseModel):
    digest: str
    comment: str = ""


def caller(authorization: Annotated[str, Header()]) -> str:
    try:
        return str(jwt.decode(authorization.removeprefix("Bearer "), SECRET, algorithms=["HS256"])["sub"])
    except jwt.PyJWTError:
        raise HTTPException(401) from None


Caller = Annotated[str, Depends(caller)]
app = FastAPI()


def note(tx: Any, quote: str, actor: str, verb: str, **facts: Any) -> None:
    last = tx.execute(
        select(audit.c.seq, audit.c.mac).where(audit.c.quote == quote).order_by(audit.c.seq.desc()).limit(1)
    ).first()
    seq, mac = (last.seq + 1, last.mac) if last else (1, "")
    mac = hashlib.sha256(f"{SECRET}{mac}{json.dumps([quote, seq, actor, verb, facts])}".encode()).hexdigest()
    tx.execute(insert(audit).values(quote=quote, seq=seq, actor=actor, verb=verb, facts=facts, mac=mac))


def ask(tx: Any, approval: Any) -> None:
    tx.execute(update(approvals).where(approvals.c.id == approval.id).values(status="requested"))
    mail = tx.execute(select(users.c.email).where(users.c.id == approval.holder)).scalar_one()
    tx.execute(
        insert(letters).values(
            recipient=mail, subject=f"Quote {approval.quote}", body=f"Please decide: {approval.rule}", sent=0
        )
    )


@app.put("/v1/quotes/{id}")
def put(id: str, quote: Quote, who: Caller) -> dict[str, Any]:
    if (quote.id, quote.owner) != (id, who):
        raise HTTPException(403)
    body = quote.model_dump(mode="json")
    digest = hashlib.sha256(json.dumps(body, sort_keys=True).encode()).hexdigest()
    total = sum((n.quantity * n.list_price * (100 - n.discount_percent) / 100 for n in quote.lines), Decimal(0))
    with engine.begin() as tx:
        known = tx.execute(select(quotes).where(quotes.c.id == id).with_for_update()).first()
        if known and (known.owner != who or known.status != "draft"):
            raise HTTPException(409)
        values = {
            "status": "draft",
            "digest": digest,
            "net_total": str(total),
            "body": body,
            "version": (known.version if known else 0) + 1,
        }
        tx.execute(
            update(quotes).where(quotes.c.id == id).values(**values)
            if known
            else insert(quotes).values(id=id, owner=who, **values)
        )
        note(tx, id, who, "put", digest=digest)
    return {"digest": digest, "version": values["version"]}


@app.post("/v1/quotes/{id}/submit")
def submit(id: str, who: Caller) -> dict[str, str]:
    with engine.begin() as tx:
        quote = tx.execute(select(quotes).where(quotes.c.id == id, quotes.c.owner == who).with_for_update()).first()
        if quote is None or quote.status != "draft":
            raise HTTPException(409)
        tx.execute(update(quotes).where(quotes.c.id == id).values(status="in_approval"))
        rows = [{"id": uuid.uuid4().hex, "quote": id, "rule": rule, "chain": chain, "step": step, "holder": holder, "status": "waiting"}
                for rule, chain, step, holder in CHAINS]  # fmt: skip
        tx.execute(insert(approvals), rows)
        for approval in tx.execute(select(approvals).where(approvals.c.quote == id, approvals.c.step == 1)).all():
            ask(tx, approval)
        note(tx, id, who, "submit", digest=quote.digest)
    return {"status": "in_approval"}


@app.get("/v1/quotes/{id}/rounds")
def rounds(id: str, who: Caller) -> list[dict[str, Any]]:
    with engine.begin() as tx:
        found = tx.execute(select(approvals).where(approvals.c.quote == id)).all()
    return [{"round": {"approvals": [{"rule": a.rule, "id": a.id, "status": a.status} for a in found]}}]


@app.post("/v1/approvals/{id}/approve")
def approve(id: str, decision: Decision, who: Caller) -> dict[str, str]:
    with engine.begin() as tx:
        approval = tx.execute(select(approvals).where(approvals.c.id == id)).first()
        if approval is None or approval.holder != who:
            raise HTTPException(403)
        quote = tx.execute(select(quotes).where(quotes.c.id == approval.quote).with_for_update()).one()
        rows = tx.execute(select(approvals).where(approvals.c.quote == quote.id)).all()
        (approval,) = [row for row in rows if row.id == id]
        if approval.status != "requested" or decision.digest != quote.digest:
            raise HTTPException(409)
        tx.execute(
            update(approvals).where(approvals.c.id == id).values(status="approved", decided_at=datetime.now(UTC))
        )
        for row in rows:
            if (row.chain, row.step) == (approval.chain, approval.step + 1):
                ask(tx, row)
        if all(row.status == "approved" or row.id == id for row in rows):
            tx.execute(update(quotes).where(quotes.c.id == quote.id).values(status="approved"))
            mail = tx.execute(select(users.c.email).where(users.c.id == quote.owner)).scalar_one()
            tx.execute(
                insert(letters).values(recipient=mail, subject=f"Quote {quote.id}", body="It is approved", sent=0)
            )
        note(tx, quote.id, who, "approve", approval=id)
    return {"status": "approved"}


def prepare() -> None:
    meta.create_all(engine)
    with engine.begin() as tx:
        tx.execute(
            insert(users), [{"id": who, "email": f"{who}@example.com"} for who in ("rita", "dora", "fabio", "lara")]
        )


if __name__ == "__main__":
    prepare()
