"""The tables. Rows stay in this folder; `storage.*` functions turn them into domain values."""

from datetime import date, datetime
from decimal import Decimal
from typing import Any

from sqlalchemy import JSON, BigInteger, Column, Index, Text, UniqueConstraint
from sqlmodel import Field, SQLModel

from storage.types import Exact, Moment


def moment(*, null: bool = False, index: bool = False) -> Any:
    return Field(default=None, sa_type=Moment, nullable=null, index=index)


def document() -> Any:
    return Field(sa_type=JSON, nullable=False)


class PersonRow(SQLModel, table=True):
    __tablename__ = "person"

    id: str = Field(primary_key=True, max_length=64)
    name: str
    email: str = ""
    password_hash: str | None = None
    roles: list[str] = document()
    manager: str | None = None
    approval_limit: Decimal | None = Field(default=None, sa_type=Exact)
    language: str = "en"
    time_zone: str = "UTC"
    unit: str = Field(default="", sa_column_kwargs={"server_default": ""})
    calendar: dict[str, Any] | None = Field(default=None, sa_type=JSON, nullable=True)
    active: bool = True
    version: int = 1
    chat_url: str = Field(default="", sa_column_kwargs={"server_default": ""})
    """Where their chat messages go: it holds a secret, so nobody reads it back."""
    tokens_valid_from: datetime | None = moment(null=True)
    """Bearer tokens issued before this instant no longer count."""


class GroupRow(SQLModel, table=True):
    __tablename__ = "approver_group"

    id: str = Field(primary_key=True, max_length=64)
    name: str
    members: list[str] = document()
    time_zone: str = Field(default="UTC", sa_column_kwargs={"server_default": "UTC"})
    calendar: dict[str, Any] | None = Field(default=None, sa_type=JSON, nullable=True)
    version: int = 1


class ApiKeyRow(SQLModel, table=True):
    __tablename__ = "api_key"

    prefix: str = Field(primary_key=True, max_length=16)
    secret_hash: str
    person: str = Field(index=True)
    note: str = ""
    created_at: datetime = moment()
    revoked_at: datetime | None = moment(null=True)


class RateRow(SQLModel, table=True):
    """Company units for one unit of `currency`, from a day on."""

    __tablename__ = "rate"

    currency: str = Field(primary_key=True, max_length=3)
    valid_from: str = Field(primary_key=True, max_length=10)
    rate: Decimal = Field(sa_type=Exact)


class PolicyRow(SQLModel, table=True):
    """Published versions never change; version 0 is the draft, counted by `revision`."""

    __tablename__ = "policy"

    kind: str = Field(primary_key=True, max_length=64)
    version: int = Field(primary_key=True)
    content: str = Field(sa_type=Text)
    hash: str
    revision: int = 1
    changed_at: datetime = moment()
    changed_by: str


class ProductRow(SQLModel, table=True):
    __tablename__ = "product"

    id: str = Field(primary_key=True, max_length=64)
    code: str = Field(default="", index=True)
    name: str
    family: str | None = None
    active: bool = True
    fields: dict[str, Any] = document()


class QuoteRow(SQLModel, table=True):
    __tablename__ = "quote"
    __table_args__ = (Index("quote_by_owner", "owner", "id"),)

    id: str = Field(primary_key=True, max_length=64)
    version: int = 1
    status: str
    digest: str
    owner: str
    customer_id: str = Field(index=True)
    customer: str
    currency: str
    net_total: Decimal = Field(sa_type=Exact)
    discount_percent: Decimal | None = Field(default=None, sa_type=Exact)
    round: int = 0
    """The number of the newest round; 0 before the first."""
    editors: list[str] = document()
    """Who edited it since the last round."""
    body: dict[str, Any] = document()
    valid_until: datetime | None = moment(null=True, index=True)
    """When an approval that was not used by then ends."""
    acceptance: dict[str, Any] | None = Field(default=None, sa_type=JSON, nullable=True)
    """The customer's yes: its date, their order number, the document."""
    flags: list[dict[str, str]] = document()
    """Figures kept from an import although they contradict the line."""
    created_at: datetime = moment()
    changed_at: datetime = moment()


class LedgerRow(SQLModel, table=True):
    """What became of one line of an accepted quote; `version` guards every move."""

    __tablename__ = "line_ledger"

    quote: str = Field(primary_key=True, max_length=64)
    line: str = Field(primary_key=True, max_length=64)
    version: int = 1
    body: dict[str, Any] = document()


class OrderRow(SQLModel, table=True):
    """The projection of one order, for lists."""

    __tablename__ = "sales_order"
    __table_args__ = (Index("order_of_quote", "quote", "number"), Index("order_by_start", "status", "starts_at"))

    id: str = Field(primary_key=True, max_length=64)
    quote: str = Field(max_length=64)
    number: int
    owner: str = Field(index=True)
    customer_id: str = Field(index=True)
    customer: str
    status: str
    version: int
    currency: str
    net_total: Decimal = Field(sa_type=Exact)
    place: str = ""
    after: str | None = Field(default=None, index=True, max_length=64)
    """The order it waits for."""
    extends: str | None = Field(default=None, max_length=64)
    """The order whose subscriptions it lets run on."""
    tasks: int = Field(default=0, sa_column_kwargs={"server_default": "0"})
    """How much of it the order desk must look at."""
    starts_at: datetime | None = moment(null=True)
    starts_on: date | None = Field(default=None, index=True)
    """The day of that, at its ship-to."""
    promised: date | None = None
    started_on: date | None = None
    """The day on which the back office took it over, at its ship-to."""
    fulfilled_on: date | None = None
    fallout_at: datetime | None = moment(null=True)
    """Since when the back office refuses it."""
    backordered: int = Field(default=0, sa_column_kwargs={"server_default": "0"})
    """How many of its lines are not in stock."""
    created_at: datetime = moment()
    changed_at: datetime = moment()


class OrderSplitRow(SQLModel, table=True):
    """One split of a quote, under the key of whoever asked for it."""

    __tablename__ = "order_split"

    id: str = Field(primary_key=True, max_length=64)
    quote: str = Field(index=True, max_length=64)
    number: int
    way: str
    """The digest of what was asked for."""
    orders: list[str] = document()
    created_at: datetime = moment()


class OrderReturnRow(SQLModel, table=True):
    """The projection of one return, for lists."""

    __tablename__ = "order_return"

    order: str = Field(primary_key=True, max_length=64)
    number: int = Field(primary_key=True)
    reference: str = Field(max_length=64)
    """The id under which it was reported."""
    status: str
    lines: dict[str, str] = document()
    reason: str = Field(default="", sa_type=Text)
    replaced_by: str | None = Field(default=None, max_length=64)
    created_at: datetime = moment()
    changed_at: datetime = moment()


class ErpDocumentRow(SQLModel, table=True):
    """What the back office is asked: to take over an order, change it, cancel it. An order has one key for ever."""

    __tablename__ = "erp_document"
    __table_args__ = (Index("erp_document_due", "status", "next_at"),)

    order: str = Field(primary_key=True, max_length=64)
    version: int = Field(primary_key=True)
    kind: str = Field(default="order", sa_column_kwargs={"server_default": "order"})
    """order, change or cancel."""
    status: str = Field(index=True)
    """waiting, accepted or rejected."""
    body: dict[str, Any] = document()
    reference: str = ""
    words: str = ""
    attempts: int = Field(default=0, sa_column_kwargs={"server_default": "0"})
    """How often it was sent in vain."""
    error: str = Field(default="", sa_type=Text, sa_column_kwargs={"server_default": ""})
    """Why, the last time."""
    next_at: datetime | None = moment(null=True)
    """When it is sent, where an ERP is connected."""
    created_at: datetime = moment()
    changed_at: datetime = moment()


class ErpCursorRow(SQLModel, table=True):
    """How far an ERP's reports were read."""

    __tablename__ = "erp_cursor"

    adapter: str = Field(primary_key=True, max_length=32)
    cursor: str = Field(default="", sa_type=Text)
    error: str = Field(default="", sa_type=Text, sa_column_kwargs={"server_default": ""})
    """Why the ERP did not answer the last time; empty where it did."""
    failed_at: datetime | None = moment(null=True)
    """Since when."""


class WorkerHeartbeatRow(SQLModel, table=True):
    """A worker process that lives, for each task queue that it works on."""

    __tablename__ = "worker_heartbeat"

    queue: str = Field(primary_key=True, max_length=32)
    process: str = Field(primary_key=True, max_length=128)
    at: datetime = moment()


class ErpDriftRow(SQLModel, table=True):
    """One thing in which an order differs between us and the ERP, as it was found when they were last compared."""

    __tablename__ = "erp_drift"

    order: str = Field(primary_key=True, max_length=200)
    kind: str = Field(primary_key=True, max_length=16)
    line: str = Field(primary_key=True, max_length=64)
    ours: str = ""
    theirs: str = ""
    found_at: datetime = moment()
    mend_at: datetime | None = moment(null=True)
    """Since when somebody wants it mended."""
    words: str = Field(default="", sa_type=Text)
    """Why that did not succeed."""


class FactRow(SQLModel, table=True):
    """What really happened to the lines of a customer's orders; appended, never changed."""

    __tablename__ = "fulfilment_fact"
    __table_args__ = (Index("fact_of_customer", "customer", "number"), Index("fact_of_order", "order", "number"))

    number: int | None = Field(default=None, primary_key=True)
    id: str = Field(unique=True, max_length=64)
    customer: str = Field(max_length=64)
    order: str = Field(max_length=64)
    at: datetime = moment()
    body: dict[str, Any] = document()


class ContractRow(SQLModel, table=True):
    """Subscriptions and assets that belong together; what is in it follows from the facts."""

    __tablename__ = "contract"

    id: str = Field(primary_key=True, max_length=64)
    customer: str = Field(index=True, max_length=64)
    kind: str
    made_on: date
    made_by: str = Field(max_length=64)


class RevenueRow(SQLModel, table=True):
    """An amount of a line's price, or of what is earned of it; appended, never changed."""

    __tablename__ = "revenue_entry"
    __table_args__ = (
        Index("revenue_of_order", "order"),
        Index("revenue_of_customer", "customer", "month"),
        Index("revenue_by_month", "month"),
    )

    number: int | None = Field(default=None, primary_key=True)
    customer: str = Field(max_length=64)
    order: str = Field(max_length=64)
    line: str = Field(max_length=64)
    product: str = Field(max_length=64)
    currency: str = Field(max_length=3)
    kind: str = Field(max_length=8)
    fact: str = Field(max_length=64)
    month: date
    earned_in: date
    amount: int = Field(sa_type=BigInteger)
    """In the currency's minor unit, so that databases add it up exactly."""
    at: datetime = moment()


class BooksRow(SQLModel, table=True):
    """One row: how far the books are closed."""

    __tablename__ = "books"

    id: int = Field(primary_key=True)
    closed_through: date | None = None
    """The first day of the last closed month."""


class RunRow(SQLModel, table=True):
    """One run: its state, what it was opened with, and how far Temporal is known to follow."""

    __tablename__ = "run"
    __table_args__ = (Index("run_wake", "wake_at"),)

    id: str = Field(primary_key=True, max_length=200)
    kind: str
    subject: str = Field(index=True, max_length=140)
    seq: int = 0
    mark: str = Field(default="", sa_column_kwargs={"server_default": ""})
    """The MAC of the audit entry of act `seq`."""
    running: bool = True
    due: datetime | None = moment(null=True)
    changed_at: datetime = moment()
    """The instant of the newest act: no later one is given an earlier instant."""
    seen: int = Field(default=-1, sa_column_kwargs={"server_default": "-1"})
    """The last act that the run's workflow is known to have been told of."""
    wake_at: datetime | None = moment(null=True)
    """When the sweep looks whether the workflow follows; nothing where it need not."""
    wakes: int = Field(default=0, sa_column_kwargs={"server_default": "0"})
    """Wake-ups in vain since the last act."""
    forgeries: int = Field(default=0, sa_column_kwargs={"server_default": "0"})
    """Signals that nobody vouched for."""
    state: dict[str, Any] = document()
    opening: dict[str, Any] = document()
    opened_at: datetime = moment()


class SweepRow(SQLModel, table=True):
    """One row: the last mark that Temporal and the database shared, and whether a restore has to be mended."""

    __tablename__ = "sweep"

    id: int = Field(primary_key=True)
    swept_at: datetime = moment()
    closed_because: str = ""
    """Why commands are refused until somebody mends a restore; empty otherwise."""
    mended_at: datetime | None = moment(null=True)
    """When somebody did: what Temporal remembers from before it says nothing any more."""


class CommandRow(SQLModel, table=True):
    __tablename__ = "command"
    __table_args__ = (Index("command_waiting", "apply_at"),)

    id: str = Field(primary_key=True, max_length=200)
    run: str = Field(index=True, max_length=200)
    actor: str
    on_behalf_of: str | None = None
    verb: str
    payload: dict[str, Any] = document()
    sent: str
    """A digest of what the caller sent: the same id with another one is refused."""
    channel: str
    verified: bool = True
    parked: bool = Field(default=False, sa_column_kwargs={"server_default": "0"})
    """Its run has it and will answer it later."""
    answered: bool = False
    outcome: dict[str, Any] | None = Field(default=None, sa_type=JSON, nullable=True)
    apply_at: datetime | None = moment(null=True)
    """When the sweep applies it, should the process that stored it have died; nothing once it is applied."""
    created_at: datetime = moment()
    answered_at: datetime | None = moment(null=True)


class EventRow(SQLModel, table=True):
    """The append-only audit trail, one chain per subject."""

    __tablename__ = "event"
    __table_args__ = (UniqueConstraint("run", "run_seq"), UniqueConstraint("command"), Index("event_at", "at"))

    subject: str = Field(primary_key=True, max_length=140)
    seq: int = Field(primary_key=True)
    at: datetime = moment()
    actor: str
    on_behalf_of: str | None = None
    verb: str
    channel: str
    applied: bool
    code: str
    verified: bool = True
    command: str | None = Field(default=None, max_length=240)
    run: str | None = Field(default=None, max_length=200)
    run_seq: int | None = None
    digest: str = ""
    state: str = Field(default="", max_length=64)
    """The digest of the record that the entry leaves behind."""
    policy_version: int | None = None
    facts: dict[str, Any] = document()
    mac: str


class CodeRow(SQLModel, table=True):
    """The one-time code that a person was mailed last; its digits follow from the nonce and a secret."""

    __tablename__ = "code"

    person: str = Field(primary_key=True, max_length=64)
    nonce: str = Field(max_length=64)
    expires_at: datetime = moment()
    tries: int


class ApprovalRow(SQLModel, table=True):
    """The projection of one approval, for lists."""

    __tablename__ = "approval"

    id: str = Field(primary_key=True, max_length=64)
    run: str = Field(index=True, max_length=200)
    subject_kind: str
    subject_id: str = Field(index=True, max_length=64)
    number: int
    """Its place in the round's plan."""
    rule: str
    title: str
    chain: str
    step: int
    tier: int
    needed: int
    status: str
    reasons: list[str] = document()
    digest: str = Field(default="", sa_column_kwargs={"server_default": ""})
    """Binds a decision to what was seen."""
    requested_at: datetime | None = moment(null=True)
    decided_at: datetime | None = moment(null=True)
    due: datetime | None = moment(null=True)
    escalation: str = Field(default="", index=True, max_length=80, sa_column_kwargs={"server_default": ""})
    """To whom it goes when time has passed: `manager`, `user:x` or `group:x`."""
    barred: str = Field(default="", sa_column_kwargs={"server_default": ""})
    """`|rita|snorri|`: who may not decide it."""


class SeatRow(SQLModel, table=True):
    """Who may decide an approval; `asked_at` is set while it waits on them, so that an inbox is one index range."""

    __tablename__ = "seat"
    __table_args__ = (
        Index("seat_inbox", "holder", "asked_at", "approval"),
        Index("seat_subject", "holder", "subject_id"),
        Index("seat_of_subject", "subject_id"),
    )

    approval: str = Field(primary_key=True, max_length=64)
    holder: str = Field(primary_key=True, max_length=64)
    subject_kind: str
    subject_id: str = Field(max_length=64)
    vote: str | None = None
    decided_by: str | None = None
    decided_at: datetime | None = moment(null=True)
    comment: str = Field(default="", sa_type=Text)
    asked_at: datetime | None = moment(null=True)
    first_asked_at: datetime | None = moment(null=True)
    """Since when this person may see the subject."""


class MessageRow(SQLModel, table=True):
    """Something one person must be told; sent by the delivery workflow."""

    __tablename__ = "message"
    __table_args__ = (
        Index("message_queue", "status", "next_at"),
        Index("message_of_run", "run"),
        Index("message_of_person", "person", "created_at"),
    )

    id: str = Field(primary_key=True, max_length=64)
    person: str
    template: str
    subject: str = Field(max_length=140)
    run: str = Field(max_length=200)
    data: dict[str, Any] = Field(sa_column=Column(JSON, nullable=False))
    channel: str = Field(default="mail", sa_column_kwargs={"server_default": "mail"})
    status: str = "queued"
    attempts: int = 0
    next_at: datetime = moment()
    created_at: datetime = moment()
    sent_at: datetime | None = moment(null=True)
    error: str = ""


class DelegationRow(SQLModel, table=True):
    """Somebody decides for somebody else between two days."""

    __tablename__ = "delegation"

    id: str = Field(primary_key=True, max_length=64)
    person: str = Field(index=True, max_length=64)
    delegate: str = Field(index=True, max_length=64)
    first: date
    last: date | None = None
    kinds: list[str] = document()
    note: str = ""
    created_at: datetime = moment()
    created_by: str
    ended_at: datetime | None = moment(null=True)


class InboundRow(SQLModel, table=True):
    """A reply that came in by mail, and what came of it. Its text is not kept: a comment stands in the trail."""

    __tablename__ = "inbound_mail"

    id: str = Field(primary_key=True, max_length=64)
    at: datetime = moment(index=True)
    sender: str
    person: str | None = None
    message: str = Field(index=True, max_length=64)
    run: str | None = Field(default=None, max_length=200)
    result: str
    detail: str = ""


class ReplacementRow(SQLModel, table=True):
    """One person takes another's place everywhere; done by a run of its own, which finds its way by this row."""

    __tablename__ = "replacement"

    id: str = Field(primary_key=True, max_length=64)
    old: str = Field(max_length=64)
    new: str = Field(max_length=64)
    by: str
    status: str
    prepared: dict[str, Any] = document()
    total: int = 0
    created_at: datetime = moment()
    finished_at: datetime | None = moment(null=True)
