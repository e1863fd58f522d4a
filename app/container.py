"""Builds every service out of the settings. Every process starts here."""

import gc
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

from pwdlib import PasswordHash
from temporalio.runtime import Runtime

import services.runs.engine
from app.settings import Settings
from app.temporal import TemporalConnection, TemporalEngine
from domain.approvals.card import Say
from notify.links import Links
from services.approvals.absences import Absences
from services.approvals.approvals import Approvals
from services.approvals.delegations import Delegations
from services.approvals.expiry import ApprovalExpiry
from services.approvals.links import ByLink
from services.approvals.policies import Policies
from services.approvals.replies import Replies
from services.clock import now
from services.container import Container
from services.context import ServiceContext
from services.customers.customers import Customers
from services.customers.revenue import Revenue
from services.erp.callbacks import Callbacks
from services.erp.documents import Documents
from services.erp.drift import Drifts
from services.erp.unsent import UnsentDocuments
from services.letters.messages import Messages
from services.orders.extensions import Extensions
from services.orders.figures import Figures
from services.orders.orders import Orders
from services.orders.returns import Returns
from services.people.access import Access
from services.people.people import People
from services.people.replacements import Replacements
from services.quotes.quotes import Quotes
from services.runs.advancing import Advancer
from services.runs.anchors import Anchors
from services.runs.apply import Applier
from services.runs.commands import CommandPath
from services.runs.consistency import Consistency
from services.runs.keys import CommandKeys
from services.runs.run_types import run_types
from services.runs.sweeping import Sweeper
from storage.database import Database
from texts import locale_of, translator

YOUNG = 10_000
"""New objects between two searches for garbage among them."""


def freeze_garbage() -> None:
    """What a process has made by now stays: searching it for garbage would halt everybody for a quarter of a second."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(YOUNG)


@dataclass(frozen=True)
class Application(Container):
    """The container with every setting, for whoever builds on it: workers and the command line."""

    settings: Settings


def build(
    settings: Settings,
    runtime: Runtime | None = None,
    hashes: PasswordHash | None = None,
    clock: Callable[[], datetime] = now,
    temporal: services.runs.engine.Engine | None = None,
    database_seconds: float | None = None,
) -> Application:
    """Everything a process needs. Tests give clocks of their own, and hash passwords cheaply.

    With `database_seconds` a database server that does not answer a statement for so long is taken for away."""
    database = Database(settings.database_url, database_seconds)
    connection = TemporalConnection(settings.temporal_connection, runtime)
    audit_key = settings.audit_key.get_secret_value().encode()
    types = run_types(settings.contract_grouping, settings.erp_carries)
    temporal = temporal or TemporalEngine(connection.client, types)
    path = CommandPath(database, temporal, clock, Applier(types, audit_key, clock))
    context = ServiceContext(
        database,
        path,
        clock,
        audit_key,
        settings.company_currency,
        tuple(settings.chat_schemes.split(",")),
        settings.chat_to_private_addresses,
        say_of(settings),
        settings.sla_hours,
        settings.company_zone,
    )
    links = Links(settings.secret.get_secret_value(), settings.base_url, settings.reply_domain)
    approvals, orders = Approvals(context), Orders(context, settings.acceptance_required)
    unsent = UnsentDocuments(database, temporal, clock, audit_key, settings.erp_carries)
    anchors = Anchors(database, clock, settings.audit_heads_folder)
    chores = (
        ApprovalExpiry(database, clock, audit_key).lapse,
        Absences(database, clock).report,
        unsent.wake,
        anchors.write_daily,
    )
    return Application(
        settings=settings,
        database=database,
        temporal=connection,
        context=context,
        path=path,
        keys=keys_of(settings),
        advancer=advancer_of(path, links, settings),
        sweeper=Sweeper(path, audit_key, keys_of(settings), chores, timedelta(seconds=settings.restore_check_seconds)),
        replacements=Replacements(context),
        access=Access(context, settings.secret.get_secret_value(), timedelta(minutes=settings.token_minutes), hashes),
        quotes=Quotes(context),
        orders=orders,
        returns=Returns(context, orders),
        extensions=Extensions(context),
        documents=Documents(context),
        unsent=unsent,
        consistency=Consistency(database, audit_key),
        anchors=anchors,
        drifts=Drifts(context, connection.client, settings.erp, settings.erp_compares),
        callbacks=Callbacks(context, settings.erp_secret.get_secret_value() if settings.erp == "webhook" else ""),
        customers=Customers(context),
        revenue=Revenue(context),
        figures=Figures(context),
        approvals=approvals,
        delegations=Delegations(context),
        people=People(context),
        policies=Policies(context),
        messages=Messages(context),
        links=links,
        by_link=ByLink(context, approvals, links, settings.links_need_sign_in),
        replies=Replies(context, approvals, settings.reply_authentication_server, settings.in_production),
    )


def advancer_of(path: CommandPath, links: Links, settings: Settings) -> Advancer:
    """Where links decide only for somebody who is signed in, a token alone is no authority for a signal either."""
    read_token = (lambda _: None) if settings.links_need_sign_in else links.claim
    return Advancer(path, keys_of(settings), read_token, settings.allow_unverified_signals)


def say_of(settings: Settings) -> Say:
    language = settings.company_language.value
    return Say(translator(language), locale_of(language))


def keys_of(settings: Settings) -> CommandKeys:
    return CommandKeys(settings.command_key_id, settings.command_keys)
