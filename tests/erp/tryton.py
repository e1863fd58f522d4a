"""The real Tryton, on a copy of the template's database."""

import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from signal import SIGCONT, SIGKILL, Signals

import pytest

from cli.dev import Ports
from erp.tryton.install import Installation, Server

INSTALLED = Installation(Path(__file__).parents[2] / ".home" / "erp")
needs_tryton = pytest.mark.skipif(not INSTALLED.ready, reason="Tryton is not installed: `dealwright erp prepare`")


class TrytonProcess:
    """A Tryton that tests freeze, kill and start again."""

    def __init__(self, home: Path) -> None:
        self.server = INSTALLED.server(home, Ports.free().api)
        self._log = home / "log"
        self._process: subprocess.Popen[bytes] | None = None

    async def start(self) -> None:
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(self.server.command, stdout=log, stderr=log, stdin=subprocess.DEVNULL)
        await self.server.answers()

    def send(self, signal: Signals) -> None:
        assert self._process
        self._process.send_signal(signal)

    def kill(self) -> None:
        self.send(SIGKILL)
        self.stop()

    def stop(self) -> None:
        assert self._process
        self._process.terminate()
        self._process.wait()


@asynccontextmanager
async def tryton_process(home: Path) -> AsyncIterator[TrytonProcess]:
    process = TrytonProcess(home)
    await process.start()
    try:
        yield process
    finally:
        process.send(SIGCONT)
        process.stop()


@asynccontextmanager
async def tryton(home: Path) -> AsyncIterator[Server]:
    async with tryton_process(home) as process:
        yield process.server
