"""The same figures on both databases, as far as they are installed."""

import tempfile
from collections.abc import Awaitable, Callable
from contextlib import ExitStack
from pathlib import Path

from bench.report import Report
from storage.migrate import migrate
from tests.databases import postgres, programs


async def on_both(report: Report, measure: Callable[[Report, str, str], Awaitable[None]]) -> None:
    """Measure on an empty database of each kind; `measure` is given its name and URL."""
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        file = Path(folder) / "bench.db"
        migrate(f"sqlite:///{file}")
        await measure(report, "SQLite", f"sqlite:///{file}")
        if programs() is None:
            report.say("PostgreSQL is not installed here: its figures are left out")
            return
        (Path(folder) / "server").mkdir()
        server = stack.enter_context(postgres(Path(folder) / "server"))
        await measure(report, "PostgreSQL", server.fresh())
