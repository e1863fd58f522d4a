"""Backups of the database: taken while it runs, checked before they are trusted, and put back whole or not at all."""

import hashlib
import os
import shutil
import sqlite3
import subprocess
from collections.abc import Callable
from contextlib import closing, suppress
from datetime import UTC, datetime
from pathlib import Path

from sqlalchemy import make_url
from sqlalchemy.engine import URL

from domain.errors import Invalid
from domain.values import Instant, Value

PAGES_AT_ONCE = 1_000
PROGRAMS = "/usr/lib/postgresql"
"""Where Debian keeps those that are not on the path."""
SIDE_FILES = ("-wal", "-shm", "-journal")
Say = Callable[[str], None]


class Manifest(Value):
    """What a backup is: it lies beside the backup, under its name and `.json`."""

    kind: str
    taken_at: Instant
    bytes: int
    sha256: str


def backup(url: str, file: Path, say: Say = lambda _: None) -> Manifest:
    """Copy a database to a file, as it is at one moment. Nobody who works with it waits. Raises Invalid."""
    if file.exists():
        raise Invalid.field(str(file), "is there already: choose another name")
    taken_at, database = datetime.now(UTC), make_url(url)
    unfinished = file.with_name(f".{file.name}.unfinished")
    unfinished.unlink(missing_ok=True)
    unfinished.touch(mode=0o600)
    try:
        if _is_sqlite(database):
            _copy_sqlite(_file_of(database), unfinished, say)
        else:
            say("the database")
            _run("pg_dump", database, "--format=custom", f"--file={unfinished}")
        manifest = Manifest(
            kind=_kind(database), taken_at=taken_at, bytes=unfinished.stat().st_size, sha256=_sha256(unfinished)
        )
        _manifest_of(file).write_text(manifest.model_dump_json())
        unfinished.replace(file)
    finally:
        unfinished.unlink(missing_ok=True)
    return manifest


def check(url: str, file: Path) -> Manifest:
    """What a backup is, after it was found whole. Raises Invalid naming what is wrong with it."""
    database, beside = make_url(url), _manifest_of(file)
    if not file.is_file():
        raise Invalid.field(str(file), "is not there")
    if not beside.is_file():
        raise Invalid.field(str(beside), "is missing: it lay beside the backup, and says what that is")
    manifest = Manifest.model_validate_json(beside.read_text())
    if manifest.kind != _kind(database):
        raise Invalid.field(str(file), f"is a backup of {manifest.kind}, and this database is {_kind(database)}")
    if manifest.sha256 != _sha256(file):
        raise Invalid.field(str(file), "was changed or cut off after it was taken")
    return manifest


def restore(url: str, file: Path, say: Say = lambda _: None) -> Path | None:
    """Put a backup in the database's place; nothing may work with it meanwhile. Raises Invalid.

    Where the database was a file, it is kept under another name, which is returned."""
    check(url, file)
    database = make_url(url)
    say("the backup")
    if not _is_sqlite(database):
        _run("pg_restore", database, "--clean", "--if-exists", "--no-owner", "--single-transaction", str(file))
        return None
    place = _file_of(database)
    unfinished = place.with_name(f".{place.name}.unfinished")
    shutil.copyfile(file, unfinished)
    unfinished.chmod(0o600)
    _check_sqlite(unfinished)
    kept = _keep(place) if place.exists() else None
    unfinished.replace(place)
    return kept


def _keep(place: Path) -> Path:
    """The database under a second name, until another takes the first in one step: whoever dies in between leaves
    the old one in place.

    A side file with anything in it would be applied to the other database, so it is put into its own first. Of one
    that is broken the side files are kept as they are."""
    kept = place.with_name(f"{place.name}.before-restore-{datetime.now(UTC):%Y%m%dT%H%M%S%f}")
    with suppress(sqlite3.DatabaseError), closing(sqlite3.connect(place)) as database:
        database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    for side in SIDE_FILES:
        beside = place.with_name(place.name + side)
        if beside.exists():
            beside.replace(kept.with_name(kept.name + side))
    kept.hardlink_to(place)
    return kept


def _copy_sqlite(source: Path, target: Path, say: Say) -> None:
    if not source.is_file():
        raise Invalid.field(str(source), "is not there: there is nothing to back up")

    def progress(_: int, left: int, total: int) -> None:
        say(f"{100 * (total - left) // max(total, 1)} % of the database")

    with closing(sqlite3.connect(source, isolation_level=None)) as database, closing(sqlite3.connect(target)) as copy:
        database.execute("BEGIN")  # what is written meanwhile is not seen: the copy need not begin anew at each write
        database.execute("SELECT count(*) FROM sqlite_master").fetchone()
        database.backup(copy, pages=PAGES_AT_ONCE, progress=progress)
    _check_sqlite(target)


def _check_sqlite(file: Path) -> None:
    """Raises Invalid unless the file is a whole database."""
    try:
        database = sqlite3.connect(f"file:{file}?mode=ro&immutable=1", uri=True)
        (verdict,) = database.execute("PRAGMA integrity_check(1)").fetchone()
        database.close()
    except sqlite3.DatabaseError as error:
        verdict = str(error)
    if verdict != "ok":
        raise Invalid.field(str(file), f"is no whole database: {verdict}")


def _run(program: str, database: URL, *arguments: str) -> None:
    """A program of PostgreSQL. The password goes through the environment: command lines are seen by everybody."""
    known = shutil.which(program) or next(map(str, sorted(Path(PROGRAMS).glob(f"*/bin/{program}"), reverse=True)), None)
    if known is None:
        raise Invalid.field(program, "is not installed: it comes with PostgreSQL's client programs")
    plain = database.set(drivername="postgresql", password=None).render_as_string(hide_password=False)
    password = {"PGPASSWORD": str(database.password)} if database.password else {}
    done = subprocess.run(
        [known, f"--dbname={plain}", "--no-password", *arguments],
        env={**os.environ, **password},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        last = (done.stderr.strip().splitlines() or [f"ended with {done.returncode}"])[-1]
        raise Invalid.field(program, last)


def _is_sqlite(database: URL) -> bool:
    return database.drivername.startswith("sqlite")


def _kind(database: URL) -> str:
    return "SQLite" if _is_sqlite(database) else "PostgreSQL"


def _file_of(database: URL) -> Path:
    return Path(database.database or "")


def _manifest_of(file: Path) -> Path:
    return file.with_name(f"{file.name}.json")


def _sha256(file: Path) -> str:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
