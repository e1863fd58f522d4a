"""Every setting, from the environment with the prefix `DEALWRIGHT_`. Read by the composition roots only."""

import os
from functools import cached_property, lru_cache
from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import Field, SecretStr, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict
from temporalio.envconfig import ClientConfig, ClientConnectConfig

from domain.people import Language

LOCAL = ("127.0.0.1", "::1", "localhost", "")
"""Hosts of this machine; none is a Unix socket or a file."""


class Settings(BaseSettings):
    model_config = SettingsConfigDict(env_prefix="DEALWRIGHT_", extra="ignore")

    database_url: str = "sqlite:///dealwright.db"
    temporal_environment: dict[str, str] | None = None
    """The TEMPORAL_* variables of the connection to Temporal; unless given, those of the process. They are those of
    Temporal's own tools: TEMPORAL_ADDRESS, _NAMESPACE, _API_KEY, _TLS…, _PROFILE, _CONFIG_FILE."""
    temporal_ui_url: str = "http://127.0.0.1:8233"
    base_url: str = "http://127.0.0.1:8080"
    """Where people reach the console; links in mails start with it."""

    secret: SecretStr = Field(min_length=32)
    """Signs tokens."""
    audit_key: SecretStr = Field(min_length=32)
    """Seals the audit chain. Keep it where nobody who can write to the database can read it."""
    audit_heads_folder: str = ""
    """Where the last audit entry of every subject is exported to each day; nowhere without it. Keep it away from the
    database: what was cut off the log is found by it."""
    command_key: SecretStr = Field(min_length=32)
    """Seals what Temporal's histories say was decided. Keep it where neither Temporal nor the database can read it."""
    command_key_id: str = Field(default="1", pattern=r"^[A-Za-z0-9_-]{1,16}$")
    command_keys_before: dict[str, SecretStr] = {}
    """Keys used before the present one, by id: histories sealed by them stay readable."""
    token_minutes: int = Field(default=480, ge=1)

    acceptance_required: bool = True
    """Whether the customer's yes must be written down before a quote is ordered."""
    contract_grouping: Literal["single", "by_end_date"] = "single"
    """One contract for a customer, or one for each day on which subscriptions end."""
    sla_hours: dict[str, Annotated[int, Field(ge=1, le=10_000)]] = {
        "standard": 24,
        "silver": 8,
        "gold": 4,
        "platinum": 1,
    }
    """The levels of service that quotes can promise, and within how many hours each answers."""
    erp: Literal["outbox", "webhook", "tryton"] = "outbox"
    """Where orders go: documents that a back office answers here, an integration platform, or Tryton."""
    erp_url: str = ""
    """Where the platform takes CloudEvents, or Tryton's address with the name of its database."""
    erp_secret: SecretStr = SecretStr("")
    """Signs what goes to the platform and what comes back, as Standard Webhooks say: `whsec_` and base64. Or the
    password of Tryton's user."""
    erp_user: str = "dealwright"
    """Tryton's user for us."""
    erp_shop: str = "Dealwright"
    """The web shop in Tryton whose orders are ours."""
    erp_per_second: float = Field(default=20, gt=0, le=1_000)
    """So many documents to the ERP a second, at most."""
    company_language: Language = Language.ENGLISH
    """What ops read in the Temporal UI."""
    company_currency: str = Field(default="EUR", pattern=r"^[A-Z]{3}$")
    company_zone: str = "UTC"
    """By whose calendar policies have days and the books have months."""
    smtp_host: str = "127.0.0.1"
    smtp_port: int = 1025
    smtp_username: str = ""
    smtp_password: SecretStr = SecretStr("")
    smtp_start_tls: bool = False
    mail_from: str = "dealwright@localhost"
    reply_domain: str = "localhost"
    """Mail to addresses of this domain must arrive at our mail server for replies, or no reply is understood."""
    inbound_port: int | None = None
    """Where that mail server listens; none without it."""
    inbound_host: str = "127.0.0.1"
    imap_host: str = ""
    """A mailbox where such mail arrives instead, read over IMAP; none without it."""
    imap_port: int = 993
    imap_username: str = ""
    imap_password: SecretStr = SecretStr("")
    imap_tls: bool = True
    imap_folder: str = "INBOX"
    imap_every_seconds: float = Field(default=20, gt=0)
    links_require_login: bool | None = None
    """Whether a link in a message decides only for somebody who is signed in, or has a one-time code. Unless told,
    so it is in production: where the console is reached by https."""
    reply_authentication_server: str = ""
    """The mail server whose Authentication-Results say who really wrote a reply. In production a reply decides only
    with its pass; without one its sender is sent a link to confirm it."""
    chat_to_private_addresses: bool = False
    """Whether chat messages may go to addresses of this machine or a private network. For development."""
    chat_schemes: str = "slack,msteams,workflows,matrix,matrixs,mmost,mmosts,discord,gchat,tgram,rockets"
    """Which kinds of chat addresses people may set, by scheme."""
    mail_catcher: str | None = None
    """Folder of the development mailbox; its page is served when this is set."""

    worker_port: int | None = None
    """Where a worker process answers /healthz, /readyz and /metrics; nowhere without it."""
    worker_host: str = "127.0.0.1"
    worker_sdk_metrics: str = ""
    """Address, as in 127.0.0.1:9464, where the metrics of Temporal's SDK are served for Prometheus; none without it."""
    allow_unverified_signals: bool = False
    requests_per_minute: int = Field(default=1_200, ge=1)
    sign_ins_per_minute: int = Field(default=10, ge=1)
    json_logs: bool = True
    restore_check_seconds: int = Field(default=10, ge=1, le=600)
    """How often database and Temporal are asked whether one of them is an older copy."""
    local_activity_slots: int = Field(default=100, ge=1)
    """How many records one worker stores at once."""

    @property
    def command_keys(self) -> dict[str, bytes]:
        """Every key that seals or sealed what histories say, by id."""
        known = {id: key.get_secret_value().encode() for id, key in self.command_keys_before.items()}
        return {**known, self.command_key_id: self.command_key.get_secret_value().encode()}

    @property
    def in_production(self) -> bool:
        return self.base_url.startswith("https:")

    @property
    def links_need_sign_in(self) -> bool:
        return self.in_production if self.links_require_login is None else self.links_require_login

    @property
    def erp_carries(self) -> bool:
        """Whether documents are sent anywhere; otherwise they wait for people."""
        return self.erp != "outbox"

    @property
    def queues(self) -> tuple[str, ...]:
        """The task queues that this deployment needs workers for."""
        return ("approvals", "orders", "notify", *(["erp"] if self.erp_carries else []))

    @property
    def erp_compares(self) -> bool:
        """Whether the ERP can tell what it has."""
        return self.erp == "tryton"

    @cached_property
    def temporal_connection(self) -> ClientConnectConfig:
        """How to connect to Temporal, with its TLS and its key. Raises ValueError naming what cannot be read."""
        given = os.environ if self.temporal_environment is None else self.temporal_environment
        said = {name: value for name, value in given.items() if value or not name.startswith("TEMPORAL_")}
        try:
            found = ClientConfig.load_client_connect_config(override_env_vars=said)
        except (OSError, RuntimeError) as error:
            raise ValueError(f"the TEMPORAL_… settings cannot be used: {error}") from None
        return {"target_host": "127.0.0.1:7233", "namespace": "default", **found}

    @property
    def temporal_address(self) -> str:
        return self.temporal_connection["target_host"]

    @property
    def _is_local(self) -> bool:
        """Whether Temporal and the database are on this machine."""
        database = urlsplit(self.database_url)
        hosts = (self.temporal_address.rpartition(":")[0].strip("[]"), database.hostname or "")
        return (database.scheme.startswith("sqlite") and hosts[0] in LOCAL) or all(host in LOCAL for host in hosts)

    @model_validator(mode="after")
    def _whole(self) -> "Settings":
        _ = self.temporal_connection
        if self.erp != "outbox" and not (self.erp_url and self.erp_secret.get_secret_value()):
            raise ValueError(f"DEALWRIGHT_ERP={self.erp} needs DEALWRIGHT_ERP_URL and DEALWRIGHT_ERP_SECRET")
        if self.allow_unverified_signals and not self._is_local:
            raise ValueError(
                "DEALWRIGHT_ALLOW_UNVERIFIED_SIGNALS is for development: Temporal and database must be on this machine"
            )
        return self


@lru_cache
def settings() -> Settings:
    return Settings()
