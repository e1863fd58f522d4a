"""Exports the last audit entry of every subject, each day, to a folder away from the database: a cut tail and a subject
that was deleted whole are found by it."""

from collections.abc import AsyncIterator, Callable
from datetime import datetime
from itertools import islice
from pathlib import Path

from domain.audit import HeadMark
from storage.database import Database
from storage.runs import audit_log

NAME = "heads-{:%Y-%m-%d}.jsonl"
EXPORTS = "heads-*.jsonl"
PAGE = 500


class Anchors:
    """`folder` is where the daily exports go; none without it."""

    def __init__(self, database: Database, clock: Callable[[], datetime], folder: str = "") -> None:
        self._database = database
        self._clock = clock
        self._folder = Path(folder) if folder else None

    async def write_daily(self) -> int:
        """Export the heads once a day. Says how many there are, 0 where it was done already."""
        if self._folder is None:
            return 0
        file = self._folder / NAME.format(self._clock())
        if file.exists():
            return 0
        self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        return await self.write(file)

    async def write(self, file: Path) -> int:
        """Export the heads to a file, which is whole or not there. Says how many there are."""
        unfinished = file.with_name(f".{file.name}.unfinished")
        count = 0
        with unfinished.open("w") as out:
            async with self._database.reading() as session:
                async for mark in audit_log.heads(session):
                    out.write(mark.model_dump_json() + "\n")
                    count += 1
        unfinished.replace(file)
        return count

    def newest_export(self) -> Path | None:
        return max(self._folder.glob(EXPORTS), default=None) if self._folder else None

    async def find_missing(self, file: Path) -> AsyncIterator[HeadMark]:
        """Entries that were there when the heads were exported, and are not now."""
        async with self._database.reading() as session:
            with file.open() as exported:
                while marks := [HeadMark.model_validate_json(line) for line in islice(exported, PAGE)]:
                    for mark in await audit_log.find_missing(session, marks):
                        yield mark
