"""A Tryton of one's own: its environment, its database with a company in it, and its server.

What is made once is kept as a template, since it takes half a minute; each database is a copy of it."""

import asyncio
import json
import os
import secrets
import shutil
import subprocess
import sys
from collections.abc import Callable
from configparser import ConfigParser
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

import httpx

from erp.tryton import company
from erp.tryton.rpc import Rpc
from erp.tryton.warehouse import Warehouse

REQUIREMENTS = Path(__file__).with_name("requirements.lock")
MODULES = ("sale", "sale_amendment", "web_shop")
HOST, DATABASE, ADMIN, USER, SHOP = "127.0.0.1", "erp", "admin", "dealwright", "Dealwright"
PRICE_DECIMALS = 8
"""So many that a price for one, times the quantity, comes to any total to the cent."""
START_SECONDS = 60
Say = Callable[[str], None]


def _code() -> str:
    """What the template depends on."""
    return sha256(REQUIREMENTS.read_bytes() + Path(company.__file__).read_bytes()).hexdigest()


class CannotPrepare(Exception):
    """The text says what went wrong, and where to read more."""


@dataclass(frozen=True)
class Server:
    """A database and the configuration to serve it."""

    home: Path
    environment: Path
    port: int

    @classmethod
    def kept_in(cls, home: Path) -> "Server | None":
        """The one that was started there last, if any was."""
        told = ConfigParser()
        if not told.read(home / "trytond.conf"):
            return None
        return cls(home, home.parent / "environment", int(told["web"]["listen"].rpartition(":")[2]))

    @property
    def url(self) -> str:
        return f"http://{HOST}:{self.port}/{DATABASE}"

    @property
    def command(self) -> list[str]:
        return [str(self.environment / "bin" / "trytond"), "-c", str(self._configured()), "-d", DATABASE]

    @property
    def password(self) -> str:
        """That of the user who stands for us."""
        return str(self._secrets["user"])

    @property
    def admin_password(self) -> str:
        return str(self._secrets["admin"])

    def rpc(self) -> Rpc:
        return Rpc(self.url, USER, self.password)

    def warehouse(self) -> Warehouse:
        """Those who send the goods off."""
        return Warehouse(Rpc(self.url, ADMIN, self.admin_password))

    @property
    def settings(self) -> dict[str, str]:
        """What Dealwright must know of it."""
        return {
            "DEALWRIGHT_ERP": "tryton",
            "DEALWRIGHT_ERP_URL": self.url,
            "DEALWRIGHT_ERP_USER": USER,
            "DEALWRIGHT_ERP_SECRET": self.password,
            "DEALWRIGHT_ERP_SHOP": SHOP,
        }

    @property
    def _secrets(self) -> dict[str, Any]:
        read: dict[str, Any] = json.loads((self.home / "secrets.json").read_text())
        return read

    def _configured(self) -> Path:
        """Written anew for each start: the port may be another."""
        file = self.home / "trytond.conf"
        told = ConfigParser()
        told["web"] = {"listen": f"{HOST}:{self.port}"}
        told["database"] = {"uri": "sqlite://", "path": str(self.home)}
        told["product"] = {"price_decimal": str(PRICE_DECIMALS)}
        with file.open("w") as out:
            told.write(out)
        return file

    async def answers(self, seconds: float = START_SECONDS) -> None:
        """Wait until it does. Raises CannotPrepare."""
        asked = {"id": 0, "method": "common.server.version", "params": []}
        async with httpx.AsyncClient(base_url=f"http://{HOST}:{self.port}") as http:
            for _ in range(int(seconds / 0.1)):
                try:
                    if (await http.post("/rpc/", json=asked)).is_success:
                        return
                except httpx.HTTPError:
                    pass
                await asyncio.sleep(0.1)
        raise CannotPrepare(f"Tryton did not answer at {self.url}")


@dataclass(frozen=True)
class Installation:
    """Tryton's programs and the template, below one folder."""

    root: Path

    @property
    def environment(self) -> Path:
        return self.root / "environment"

    @property
    def template(self) -> Path:
        return self.root / "template"

    @property
    def ready(self) -> bool:
        """Whether it is there, made by the code of today."""
        made = self.template / "made-by"
        return made.exists() and made.read_text() == _code()

    def server(self, home: Path, port: int) -> Server:
        """One with a database in `home`, a copy of the template where there is none."""
        if not (home / f"{DATABASE}.sqlite").exists():
            shutil.copytree(self.template, home, dirs_exist_ok=True)
        return Server(home, self.environment, port)

    def prepare(self, port: int, say: Say = lambda _: None) -> None:
        """Install it and make the template, unless that was done; `port` is used meanwhile. Raises CannotPrepare."""
        if self.ready:
            return
        shutil.rmtree(self.root, ignore_errors=True)
        self.template.mkdir(parents=True)
        say("installing Tryton")
        self._run(sys.executable, "-m", "venv", str(self.environment))
        pip = ("-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--require-hashes")
        self._run(str(self.environment / "bin" / "python"), *pip, "-r", str(REQUIREMENTS))
        server = self._database(port, say)
        say("founding a company in Tryton")
        with (self.root / "log").open("ab") as log:
            running = subprocess.Popen(server.command, stdout=log, stderr=log, stdin=subprocess.DEVNULL)
        try:
            asyncio.run(self._founded(server))
        finally:
            running.terminate()
            running.wait()
        (self.template / "made-by").write_text(_code())

    def _database(self, port: int, say: Say) -> Server:
        say("making Tryton's database")
        server = Server(self.template, self.environment, port)
        secret = self.template / "secrets.json"
        secret.touch(mode=0o600)
        secret.write_text(json.dumps({"admin": secrets.token_urlsafe(24), "user": secrets.token_urlsafe(24)}))
        typed = self.template / "typed"
        typed.touch(mode=0o600)
        typed.write_text(server.admin_password)
        (self.template / f"{DATABASE}.sqlite").touch()  # Tryton does not make it itself
        made = ("-u", *MODULES, "--activate-dependencies", "--email", "admin@example.com")
        program = self.environment / "bin" / "trytond-admin"
        try:
            self._run(str(program), "-c", server.command[2], "-d", DATABASE, *made, TRYTONPASSFILE=str(typed))
        finally:
            typed.unlink()
        return server

    async def _founded(self, server: Server) -> None:
        await server.answers()
        rpc = Rpc(server.url, ADMIN, server.admin_password, seconds=120)
        try:
            await company.found(rpc, USER, server.password, SHOP)
        finally:
            await rpc.close()

    def _run(self, *command: str, **environment: str) -> None:
        log = self.root / "log"
        with log.open("ab") as out:
            done = subprocess.run(command, env={**os.environ, **environment}, stdout=out, stderr=out, check=False)
        if done.returncode:
            words = "\n".join(log.read_text(errors="replace").splitlines()[-8:])
            raise CannotPrepare(f"{Path(command[0]).name} ended with {done.returncode}. The end of {log}:\n{words}")
