"""A database that is put back is there whole, or the old one still is."""

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from storage.backup import backup, restore


def rows(file: Path) -> int:
    with closing(sqlite3.connect(file)) as database:
        return int(database.execute("SELECT count(*) FROM deal").fetchone()[0])


def database_of(file: Path, count: int) -> sqlite3.Connection:
    """A database of which the newest rows stand in its write-ahead log alone, as after its processes were killed."""
    database = sqlite3.connect(file, isolation_level=None)
    database.execute("PRAGMA journal_mode=WAL")
    database.execute("PRAGMA wal_autocheckpoint=0")
    database.execute("CREATE TABLE deal (id INTEGER)")
    database.executemany("INSERT INTO deal VALUES (?)", [(n,) for n in range(count)])
    return database


def copied(tmp_path: Path, count: int) -> Path:
    """The files of such a database as a kill leaves them."""
    with closing(database_of(tmp_path / "live.db", count)):
        place = tmp_path / "killed.db"
        for side in ("", "-wal"):
            Path(f"{place}{side}").write_bytes(Path(f"{tmp_path / 'live.db'}{side}").read_bytes())
    return place


def test_what_was_there_is_kept_with_what_stood_in_its_log_alone(tmp_path: Path) -> None:
    place, file = copied(tmp_path, 7), tmp_path / "backup"
    with closing(database_of(tmp_path / "earlier.db", 3)):
        backup(f"sqlite:///{tmp_path / 'earlier.db'}", file)
    kept = restore(f"sqlite:///{place}", file)
    assert kept is not None
    assert (rows(place), rows(kept)) == (3, 7)


class Killed(Exception):
    """The process ends here."""


@pytest.mark.parametrize("step", range(6))
def test_whenever_it_is_killed_there_is_a_whole_database_and_a_second_try_puts_it_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: int
) -> None:
    place, file = copied(tmp_path, 7), tmp_path / "backup"
    with closing(database_of(tmp_path / "earlier.db", 3)):
        backup(f"sqlite:///{tmp_path / 'earlier.db'}", file)
    left = step

    def dying(name: str) -> None:
        real = getattr(Path, name)

        def act(*given: object) -> object:
            nonlocal left
            left -= 1
            if left < 0:
                raise Killed
            return real(*given)

        monkeypatch.setattr(Path, name, act)

    for name in ("replace", "hardlink_to", "chmod"):
        dying(name)
    try:
        restore(f"sqlite:///{place}", file)
    except Killed:
        assert rows(place) == 7
    monkeypatch.undo()
    restore(f"sqlite:///{place}", file)
    assert rows(place) == 3
