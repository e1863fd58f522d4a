"""The services of one process, as front doors use them. `app.container` builds them."""

from dataclasses import dataclass
from typing import Protocol

from notify.links import Links
from services.access import Access
from services.advancing import Advancer
from services.anchors import Anchors
from services.approvals import Approvals
from services.commands import CommandPath
from services.consistency import Consistency
from services.customers import Customers
from services.delegations import Delegations
from services.documents import Documents
from services.drift import Drifts
from services.engine import Connection
from services.erp import Callbacks
from services.extensions import Extensions
from services.figures import Figures
from services.keys import CommandKeys
from services.links import ByLink
from services.messages import Messages
from services.office import Office
from services.orders import Orders
from services.people import People
from services.policies import Policies
from services.quotes import Quotes
from services.replacements import Replacements
from services.replies import Replies
from services.returns import Returns
from services.revenue import Revenue
from services.sweeping import Sweeper
from services.unsent import UnsentDocuments
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
    office: Office
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
