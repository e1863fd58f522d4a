"""`dealwright backup` and `dealwright restore`: the database as a file, and the file as the database."""

import asyncio
from pathlib import Path
from typing import Annotated

import typer

from app.container import Application
from cli.output import progress, screen
from domain.errors import Locked
from storage import backup as backups
from storage.runs import heartbeats, runs

File = Annotated[Path, typer.Argument(help="The backup; a file of the same name and .json lies beside it")]


async def take_backup(container: Application, file: Path) -> backups.Manifest:
    with progress("Backing up") as say:
        return await asyncio.to_thread(backups.backup, container.settings.database_url, file, say)


async def put_back(container: Application, file: Path, force: bool) -> Path | None:
    """Restore, and close the database until somebody has looked at what differs. Raises Locked, Invalid."""
    url = container.settings.database_url
    backups.check(url, file)
    if not force and (living := await _living(container)):
        raise Locked(f"Workers of {', '.join(living)} still run. Stop API and workers first, then restore.")
    await container.database.close()
    with progress("Restoring") as say:
        kept = await asyncio.to_thread(backups.restore, url, file, say)
    async with container.database.writing() as session:
        now = container.context.clock()
        await runs.save_sweep(session, swept_at=now, closed_because=f"the backup {file.name} was restored")
    return kept


async def _living(container: Application) -> list[str]:
    """The queues whose workers lived a moment ago. A database that cannot be read has none that could be hurt."""
    try:
        async with container.database.reading() as session:
            return sorted(await heartbeats.living_queues(session, container.context.clock()))
    except Exception:
        return []


def show_backup(file: Path, manifest: backups.Manifest) -> None:
    size, at = f"{manifest.bytes:,} bytes of {manifest.kind}", f"{manifest.taken_at:%Y-%m-%d %H:%M} UTC"
    screen.print(f"{file}: {size}, as it was at {at}.")
    screen.print("The keys are not in it: keep them elsewhere.")


def show_restored(kept: Path | None) -> None:
    screen.print("The backup is in place, and everything is refused until it was looked at.")
    if kept:
        screen.print(f"What was there is kept as {kept}.")
    screen.print("Start Temporal, workers and API; then: dealwright doctor --mend")
