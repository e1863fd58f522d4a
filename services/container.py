"""The services of one process, as front doors use them. `app.container` builds them."""

from dataclasses import dataclass
from typing import Protocol

from notify.links import Links
from services.approvals.approvals import Approvals
from services.approvals.delegations import Delegations
from services.approvals.links import ByLink
from services.approvals.policies import Policies
from services.approvals.replies import Replies
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
from services.runs.commands import CommandPath
from services.runs.consistency import Consistency
from services.runs.engine import Connection
from services.runs.keys import CommandKeys
from services.runs.sweeping import Sweeper
from storage.database import Database


class FrontDoorSettings(Protocol):
    """What front doors must know of the settings."""

    @property
    def erp(self) -> str: ...
    @property
    def in_production(self) -> bool: ...
    @property
    def mail_catcher(self) -> str | None: ...
    @property
    def queues(self) -> tuple[str, ...]: ...
    @property
    def requests_per_minute(self) -> int: ...
    @property
    def sign_ins_per_minute(self) -> int: ...
    @property
    def token_minutes(self) -> int: ...


@dataclass(frozen=True)
class Container:
    """Everything a front door or a worker needs, built once by `app.container`."""

    settings: FrontDoorSettings
    database: Database
    temporal: Connection
    context: ServiceContext
    path: CommandPath
    keys: CommandKeys
    advancer: Advancer
    sweeper: Sweeper
    access: Access
    quotes: Quotes
    orders: Orders
    returns: Returns
    extensions: Extensions
    documents: Documents
    callbacks: Callbacks
    unsent: UnsentDocuments
    consistency: Consistency
    anchors: Anchors
    drifts: Drifts
    customers: Customers
    revenue: Revenue
    figures: Figures
    approvals: Approvals
    delegations: Delegations
    people: People
    policies: Policies
    messages: Messages
    links: Links
    by_link: ByLink
    replies: Replies
    replacements: Replacements

    async def close(self) -> None:
        await self.path.settle()
        await self.advancer.close()
        await self.database.close()
