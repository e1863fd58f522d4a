"""The processes of one running Dealwright on one machine: engine, worker, API with console, and a mail catcher."""

import fcntl
import itertools
import json
import os
import random
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import sysconfig
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import IO

import httpx

from erp.tryton.install import Server
from notify.catcher import catcher
from storage.migrate import migrate
from workflows.search import TYPES

HOST = "127.0.0.1"
WORKER = Path(__file__).parent.parent / "worker.py"
ENGINE_FLAGS = [
    "--sqlite-pragma",
    "journal_mode=wal",
    "--sqlite-pragma",
    "synchronous=1",
    "--dynamic-config-value",
    "matching.numTaskqueueReadPartitions=1",
    "--dynamic-config-value",
    "matching.numTaskqueueWritePartitions=1",
    # A development server reads its attributes and namespaces from its database at every call; a real one does not.
    "--dynamic-config-value",
    "system.forceSearchAttributesCacheRefreshOnRead=false",
    # It looks for new tasks 20 times a second at most: a click right after another waited 20 ms for Temporal.
    "--dynamic-config-value",
    "history.transferProcessorMaxPollRPS=200",
    "--log-level",
    "error",
]
ENGINE_CORES = str(max(1, (os.cpu_count() or 1) // 2))
"""Temporal shares the machine with everything else; given every core it spends a fifth more on waking up."""
START_SECONDS, STOP_SECONDS = 60.0, 15.0
START_RETRIES = 2
NEVER_LENT = (20_000, 32_000)  # below what Linux lends to outgoing connections


PARENT_DIES = shutil.which("setpriv")
"""Linux' program that ends a process when its parent does."""


class CannotStart(Exception):
    """Something is in the way; the text says what, and what to do."""


def taken(port: int) -> str:
    """Why nobody can listen on a port now; empty when somebody can."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError as error:
            return error.strerror or str(error)
    return ""


@dataclass(frozen=True)
class Ports:
    api: int = 8080
    temporal: int = 7233
    ui: int = 8233
    mail: int = 1025
    replies: int = 1026
    erp: int = 8000
    worker: int = 8081
    notify: int = 8082

    @classmethod
    def free(cls) -> "Ports":
        """Ports nobody uses now, for a stack of one's own. Never those the system lends to outgoing connections.

        They are reserved until this process ends: between two stacks that start together none is given twice."""
        candidates = iter(random.SystemRandom().sample(range(*NEVER_LENT), 1000))
        return cls(*itertools.islice((port for port in candidates if not taken(port) and _reserve(port)), 8))


_RESERVED: list[IO[str]] = []
"""The lock files of the ports that this process reserved."""


def _reserve(port: int) -> bool:
    """Lock a port's file in the system's temporary folder; False where another process holds it."""
    folder = Path(tempfile.gettempdir(), f"dealwright-ports-{os.getuid()}")
    folder.mkdir(exist_ok=True)
    file = (folder / str(port)).open("w")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        file.close()
        return False
    _RESERVED.append(file)
    return True


@dataclass
class Child:
    """One process of ours, in a group of its own so that Ctrl-C reaches only the parent."""

    name: str
    command: list[str]
    environment: dict[str, str]
    log: Path
    process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        bound = [PARENT_DIES, "--pdeathsig", "TERM", "--"] if PARENT_DIES else []
        with self.log.open("ab") as out:  # a file, never a pipe: an unread pipe would wedge the child
            self.process = subprocess.Popen(
                [*bound, *self.command],
                env=self.environment,
                stdout=out,
                stderr=out,
                stdin=subprocess.DEVNULL,
                start_new_session=True,
            )

    @property
    def alive(self) -> bool:
        return self.process is not None and self.process.poll() is None

    def kill(self) -> None:
        """As a crash would: SIGKILL, nothing finished."""
        if self.process:
            self.process.kill()
            self.process.wait()

    def stop(self) -> None:
        if self.process and self.alive:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                self.kill()

    def last_words(self) -> str:
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-15:]) if self.log.exists() else ""


@dataclass
class Stack:
    home: Path
    ports: Ports = field(default_factory=Ports)
    database_url: str = ""
    settings: dict[str, str] = field(default_factory=dict)
    """Further settings for the processes, over those of the stack."""
    erp: Server | None = None
    """A Tryton that runs with it."""
    children: dict[str, Child] = field(default_factory=dict)
    leftovers: list[str] = field(default_factory=list)
    """Processes that were found running when it started, and were ended."""

    @property
    def api_url(self) -> str:
        return f"http://{HOST}:{self.ports.api}"

    @property
    def ui_url(self) -> str:
        return f"http://{HOST}:{self.ports.ui}"

    @property
    def mailbox(self) -> Path:
        return self.home / "mail"

    @property
    def outer_engine(self) -> str | None:
        """A Temporal that runs already, if the environment names one."""
        return os.environ.get("TEMPORAL_ADDRESS")

    def environment(self) -> dict[str, str]:
        """What the processes, and commands about this stack, find in their environment."""
        keys = self._secrets()
        found = {
            **os.environ,
            "DEALWRIGHT_DATABASE_URL": self.database_url or f"sqlite:///{self.home / 'dealwright.db'}",
            "TEMPORAL_ADDRESS": self.outer_engine or f"{HOST}:{self.ports.temporal}",
            "DEALWRIGHT_TEMPORAL_UI_URL": self.ui_url,
            "DEALWRIGHT_BASE_URL": self.api_url,
            "DEALWRIGHT_SMTP_PORT": str(self.ports.mail),
            "DEALWRIGHT_INBOUND_PORT": str(self.ports.replies),
            "DEALWRIGHT_MAIL_CATCHER": str(self.mailbox),
            "DEALWRIGHT_AUDIT_HEADS_FOLDER": str(self.home / "audit-heads"),
            "DEALWRIGHT_ALLOW_UNVERIFIED_SIGNALS": "1",
            "DEALWRIGHT_SECRET": keys["secret"],
            "DEALWRIGHT_AUDIT_KEY": keys["audit_key"],
            "DEALWRIGHT_COMMAND_KEY": keys["command_key"],
        }
        return {**found, **(self.erp.settings if self.erp else {}), **self.settings}

    def _secrets(self) -> dict[str, str]:
        """Made once per home, readable by its owner only, beside the database and not in it."""
        self.home.mkdir(parents=True, exist_ok=True)
        found = {}
        for name in ("secret", "audit_key", "command_key"):
            file = self.home / f"{name}.key"
            if not file.exists():
                file.touch(mode=0o600)
                file.write_text(secrets.token_urlsafe(48))
            found[name] = file.read_text().strip()
        return found

    def prepare(self) -> None:
        """Migrate the database, and know how to start each process."""
        environment = self.environment()
        migrate(environment["DEALWRIGHT_DATABASE_URL"])
        python = [sys.executable]
        commands = {
            "engine": self._engine_command(),
            "worker": [*python, str(WORKER), "--queue", "approvals,orders,erp"],
            # Apart from the decisions, so that writing letters never delays an answer.
            "notify": [*python, str(WORKER), "--queue", "notify"],
            "api": [*python, "-m", "uvicorn", "--factory", "app.asgi:application", "--host", HOST,
                    "--port", str(self.ports.api), "--no-access-log", "--log-level", "warning"],
        }  # fmt: skip
        if self.outer_engine:
            del commands["engine"]
        if self.erp:
            commands = {"erp": self.erp.command, **commands}
        for name, command in commands.items():
            shares = {**environment, **self._probes(name)}
            if name == "engine":
                shares = {"GOMAXPROCS": ENGINE_CORES, **environment}
            self.children[name] = Child(name, command, shares, self.home / f"{name}.log")

    def _probes(self, name: str) -> dict[str, str]:
        """Where a worker process says how it is."""
        ports = {"worker": self.ports.worker, "notify": self.ports.notify}
        return {"DEALWRIGHT_WORKER_PORT": str(ports[name])} if name in ports else {}

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Nobody else runs a stack in this home. Raises CannotStart naming who does."""
        self.home.mkdir(parents=True, exist_ok=True)
        with (self.home / "lock").open("a+") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                lock.seek(0)
                raise CannotStart(
                    f"{self.home} is in use: {lock.read().strip() or 'another process runs it'}. "
                    "Stop that one, or choose another: --home"
                ) from None
            lock.truncate(0)
            since = f"{datetime.now().astimezone():%Y-%m-%d %H:%M}"
            lock.write(f"process {os.getpid()} runs Dealwright there since {since}")
            lock.flush()
            yield

    def end_leftovers(self) -> list[str]:
        """End processes of a stack in this home whose parent was killed; says which they were."""
        file = self.home / "processes.json"
        found = json.loads(file.read_text()) if file.exists() else {}
        left = {name: pid for name, pid in found.items() if _is_ours(pid, self.home)}
        for pid in left.values():
            os.kill(pid, signal.SIGTERM)
        until = time.monotonic() + STOP_SECONDS
        while any(_is_ours(pid, self.home) for pid in left.values()) and time.monotonic() < until:
            time.sleep(0.1)
        for pid in left.values():
            if _is_ours(pid, self.home):
                os.kill(pid, signal.SIGKILL)
        file.unlink(missing_ok=True)
        return [f"{name} (process {pid})" for name, pid in left.items()]

    def _note_processes(self) -> None:
        running = {name: child.process.pid for name, child in self.children.items() if child.process and child.alive}
        (self.home / "processes.json").write_text(json.dumps(running))

    def check_ports(self) -> None:
        wanted = {
            "api": self.ports.api,
            "temporal": self.ports.temporal,
            "ui": self.ports.ui,
            "mail": self.ports.mail,
            "replies": self.ports.replies,
            "worker": self.ports.worker,
            "notify": self.ports.notify,
        }
        if self.outer_engine:
            del wanted["temporal"], wanted["ui"]
        if self.erp:
            wanted["erp"] = self.erp.port
        for name, port in wanted.items():
            if why := taken(port):
                raise CannotStart(f"Port {port} is taken ({why}). Stop what uses it, or choose another: --{name}-port")

    def _engine_command(self) -> list[str]:
        scripts = Path(sysconfig.get_path("scripts")) / "temporal"
        binary = str(scripts) if scripts.exists() else shutil.which("temporal")
        if binary is None:
            raise CannotStart("Temporal's program `temporal` is missing. Run `make setup` again.")
        attributes = [part for name, kind in TYPES.items() for part in ("--search-attribute", f"{name}={kind}")]
        return [
            binary,
            "server",
            "start-dev",
            "--ip",
            HOST,
            "--ui-ip",
            HOST,
            "--port",
            str(self.ports.temporal),
            "--ui-port",
            str(self.ports.ui),
            "--db-filename",
            str(self.home / "temporal.db"),
            *ENGINE_FLAGS,
            *attributes,
        ]

    def start(self, say: Callable[[str], None] = lambda _: None) -> None:
        """Start everything and wait until it is ready. Raises CannotStart."""
        shutil.rmtree(self.home / "stopped", ignore_errors=True)
        say("bringing the database up to date")
        self.prepare()
        for name, child in self.children.items():
            say(f"starting {name}")
            child.start()
        self._note_processes()
        say("waiting until everything answers")
        self.wait_ready()

    def wait_ready(self) -> None:
        until = time.monotonic() + START_SECONDS
        retries = START_RETRIES
        while not self.ready():
            for child in self.children.values():
                if child.alive:
                    continue
                if retries:  # Temporal chooses inner ports that another process may take before it does
                    retries -= 1
                    child.start()
                else:
                    raise CannotStart(f"{child.name} ended at once. The end of {child.log}:\n{child.last_words()}")
            if time.monotonic() > until:
                raise CannotStart(f"Not ready after {START_SECONDS:.0f} s. See the logs in {self.home}")
            time.sleep(0.1)

    def ready(self) -> bool:
        try:
            return httpx.get(f"{self.api_url}/readyz", timeout=3).status_code == 200
        except httpx.HTTPError:
            return False

    def revive(self) -> list[str]:
        """Start again whatever died, unless somebody stopped it on purpose; says which."""
        died = [child for child in self.children.values() if not child.alive and not self.stopped(child.name).exists()]
        for child in died:
            child.start()
        if died:
            self._note_processes()
        return [child.name for child in died]

    def stopped(self, name: str) -> Path:
        """The file that keeps a process stopped while it exists."""
        return self.home / "stopped" / name

    def stop_what_should(self) -> list[str]:
        """Stop what somebody wants stopped; says which."""
        unwanted = [child for child in self.children.values() if child.alive and self.stopped(child.name).exists()]
        for child in unwanted:
            child.stop()
        return [child.name for child in unwanted]

    def stop(self) -> None:
        """End what was started, Temporal last."""
        for child in reversed(self.children.values()):
            child.stop()
        (self.home / "processes.json").unlink(missing_ok=True)

    @contextmanager
    def running(self, say: Callable[[str], None] = lambda _: None) -> Iterator["Stack"]:
        """Everything runs until the block ends. Raises CannotStart."""
        with self.locked():
            self.leftovers = self.end_leftovers()
            self.check_ports()
            mail = catcher(self.mailbox, self.ports.mail, HOST)
            mail.start()
            try:
                self.start(say)
                yield self
            finally:
                self.stop()
                mail.stop()


def _is_ours(pid: int, home: Path) -> bool:
    """Whether a process still runs, and works for this home: its number may be another's by now."""
    try:
        environment = Path(f"/proc/{pid}/environ").read_bytes()
    except OSError:
        return False
    return str(home).encode() in environment
