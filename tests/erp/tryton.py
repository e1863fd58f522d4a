"""The real Tryton, on a copy of the template's database."""

import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from erp.tryton.install import Installation, Server
from stack import Ports

INSTALLED = Installation(Path(__file__).parents[2] / ".home" / "erp")
needs_tryton = pytest.mark.skipif(not INSTALLED.ready, reason="Tryton is not installed: `dealwright erp prepare`")


@asynccontextmanager
async def tryton(home: Path) -> AsyncIterator[Server]:
    server = INSTALLED.server(home, Ports.free().api)
    with (home / "log").open("ab") as log:
        process = subprocess.Popen(server.command, stdout=log, stderr=log, stdin=subprocess.DEVNULL)
    try:
        await server.answers()
        yield server
    finally:
        process.terminate()
        process.wait()
