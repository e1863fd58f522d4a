"""Real databases for tests: SQLite files, and a PostgreSQL server of our own where its programs are installed."""

import os
import pwd
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil

from storage.migrate import migrate

HOST = "127.0.0.1"


def programs() -> Path | None:
    """The folder with initdb and postgres, newest version first."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), reverse=True)
    on_path = shutil.which("initdb")
    return found[0].parent if found else Path(on_path).parent if on_path else None


class Postgres:
    """One server on a free port of loopback; each database is a copy of a migrated template."""

    def __init__(
        self, binaries: Path, port: int, start: Callable[[], subprocess.Popen[bytes]], socket: Path | None
    ) -> None:
        self.binaries = binaries
        self._start = start
        self._server = start()
        self.port = port
        self.socket = socket
        self.made = 0
        self._wait()
        migrate(self.create("template_dealwright"))

    def url(self, name: str) -> str:
        where = f"/{name}?host={self.socket}&port={self.port}" if self.socket else f"{HOST}:{self.port}/{name}"
        return f"postgresql://postgres@{where}"

    def create(self, name: str, template: str = "template1") -> str:
        self.run(f'create database "{name}" template "{template}"')
        return self.url(name)

    def fresh(self, template: str = "template_dealwright") -> str:
        self.made += 1
        return self.create(f"test_{self.made}", template)

    def kill(self) -> None:
        """As a crash would: every process of it, nothing finished."""
        children = psutil.Process(self._server.pid).children(recursive=True)
        self._server.kill()
        for child in children:
            with suppress(psutil.NoSuchProcess):
                child.kill()
        self._server.wait()
        psutil.wait_procs(children, timeout=10)

    @contextmanager
    def frozen(self) -> Iterator[None]:
        """Every process of it stands still: who asks hears nothing."""
        server = psutil.Process(self._server.pid)
        everybody = [server, *server.children(recursive=True)]
        for process in everybody:
            process.suspend()
        try:
            yield
        finally:
            for process in everybody:
                with suppress(psutil.NoSuchProcess):
                    process.resume()

    def revive(self) -> None:
        self._server = self._start()
        self._wait()

    def stop(self) -> None:
        self._server.send_signal(signal.SIGINT)  # at once: it does not wait until everybody has left
        self._server.wait(30)

    def _wait(self) -> None:
        until = time.monotonic() + 30
        ready = [self.binaries / "pg_isready", "-q", "-h", HOST, "-p", str(self.port)]
        while subprocess.run(ready).returncode:
            if self._server.poll() is not None or time.monotonic() > until:
                raise TimeoutError("PostgreSQL did not start")
            time.sleep(0.05)

    def run(self, statement: str) -> None:
        """Run a statement as who may do everything."""
        subprocess.run(
            [self.binaries / "psql", "-q", "-d", self.url("postgres"), "-c", statement], check=True, capture_output=True
        )


@contextmanager
def postgres(folder: Path, by_socket: bool = False) -> Iterator[Postgres]:
    """A server in `folder`, reached by TCP, or as usual on one machine by a Unix socket, whose path must be short.

    PostgreSQL refuses to run as root, so root lends it to the user postgres."""
    binaries = programs()
    if binaries is None:
        raise FileNotFoundError("PostgreSQL's programs")
    user = "postgres" if os.geteuid() == 0 else None
    data = folder / "pg"
    data.mkdir()
    if user:
        owner = pwd.getpwnam(user)
        os.chown(data, owner.pw_uid, owner.pw_gid)
        for parent in (folder, *folder.parents):
            if parent.stat().st_uid == 0 and parent != Path("/"):
                parent.chmod(parent.stat().st_mode | 0o011)
    with socket.create_server((HOST, 0)) as free:
        port = free.getsockname()[1]
    made = [
        str(binaries / "initdb"),
        "-D",
        str(data),
        "-U",
        "postgres",
        "-A",
        "trust",
        "-E",
        "UTF8",
        "--locale=C.UTF-8",
    ]
    subprocess.run(made, user=user, check=True, capture_output=True, cwd="/")
    socket_folder = data if by_socket else None
    command = [str(binaries / "postgres"), "-D", str(data), "-p", str(port), "-h", HOST, "-k", str(socket_folder or ""),
               "-c", "fsync=off", "-c", "max_connections=200"]  # fmt: skip

    def start() -> subprocess.Popen[bytes]:
        (data / "postmaster.pid").unlink(missing_ok=True)  # of one that was killed
        with (folder / "postgres.log").open("ab") as log:
            return subprocess.Popen(command, user=user, stdout=log, stderr=log, cwd="/")

    server = Postgres(binaries, port, start, socket_folder)
    try:
        yield server
    finally:
        server.stop()
