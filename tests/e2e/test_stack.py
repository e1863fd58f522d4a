"""The commands a stranger types, as real processes."""

import asyncio
import os
import signal
import socket
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import httpx
import psutil
import pytest
import yaml

from cli.dev import HOST, Ports, Stack
from storage.approvals import rounds
from tests.conftest import ROOT, Live, installed
from tests.databases import Postgres
from tests.e2e.conftest import SOAK, until
from tests.erp.tryton import needs_tryton

pytestmark = pytest.mark.e2e
BIN = Path(sys.executable).parent
CLEAN = {k: v for k, v in os.environ.items() if not k.startswith(("DEALWRIGHT_", "TEMPORAL_"))}


def dealwright(*arguments: str, home: Path | None = None, expect: int = 0) -> str:
    command = [str(BIN / "dealwright"), *arguments, *(["--home", str(home)] if home else [])]
    done = subprocess.run(command, capture_output=True, text=True, env=CLEAN, cwd=ROOT, timeout=300, check=False)
    assert done.returncode == expect, done.stdout + done.stderr
    return done.stdout + done.stderr


def test_processes_that_start_together_choose_different_ports() -> None:
    """A port is free until somebody listens: what one process chose is reserved for it."""
    ours = set(vars(Ports.free()).values())
    code = "from cli.dev import Ports; print(*[port for _ in range(100) for port in vars(Ports.free()).values()])"
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    theirs = [int(port) for port in said.stdout.split()]
    assert len(set(theirs)) == 800
    assert not ours & set(theirs)


@contextmanager
def dev(home: Path, ports: Ports, *more: str, killed: bool = False) -> Iterator[subprocess.Popen[bytes]]:
    """`dealwright dev` until the block ends, then Ctrl-C; or SIGKILL, which leaves nothing behind either."""
    command = [str(BIN / "dealwright"), "dev", "--home", str(home), "--api-port", str(ports.api), "--temporal-port",
               str(ports.temporal), "--ui-port", str(ports.ui), "--mail-port", str(ports.mail), "--replies-port", str(ports.replies),
               "--worker-port", str(ports.worker), "--notify-port", str(ports.notify), *more]  # fmt: skip
    home.mkdir(parents=True, exist_ok=True)
    with (home / "dev.log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, env=CLEAN, cwd=ROOT)
    try:
        until = time.monotonic() + 90
        while b"Ctrl-C stops everything" not in (home / "dev.log").read_bytes():
            assert process.poll() is None, (home / "dev.log").read_text()
            assert time.monotonic() < until, (home / "dev.log").read_text()
            time.sleep(0.1)
        yield process
    finally:
        assert process.poll() is None, (home / "dev.log").read_text()
        children = psutil.Process(process.pid).children(recursive=True)
        process.send_signal(signal.SIGKILL if killed else signal.SIGINT)
        assert process.wait(60) == (-signal.SIGKILL if killed else 0), (home / "dev.log").read_text()
        _, left = psutil.wait_procs(children, timeout=20 if killed else 0)
        assert left == [], "all that it started ends with it"


def sign_in(api: str, user: str) -> httpx.Client:
    answer = httpx.post(f"{api}/v1/auth/token", json={"user": user, "password": "dealwright-demo"})
    token = answer.json()["access_token"]
    return httpx.Client(base_url=api, headers={"Authorization": f"Bearer {token}"}, timeout=30)


def test_dev_runs_everything_survives_a_restart_and_stops_cleanly(tmp_path: Path) -> None:
    home, ports = tmp_path / "home", Ports.free()
    api = f"http://{HOST}:{ports.api}"
    with dev(home, ports, killed=True) as running:
        assert httpx.get(f"http://{HOST}:{ports.ui}").status_code == 200
        assert httpx.get(f"{api}/docs").status_code == 200
        with sign_in(api, "rita") as rita:
            assert len(rita.get("/v1/quotes").json()["items"]) == 4
            assert rita.post("/v1/quotes/Q-1004/submit").status_code == 200
        with sign_in(api, "dora") as dora:
            (item,) = dora.get("/v1/inbox").json()["items"]
        workflow = ["--address", f"{HOST}:{ports.temporal}", "-w", "quote:Q-1004:approval:1"]
        told = f'{{"approval": "{item["approval"]}", "actor": "dora", "comment": "by Temporal"}}'
        signal_it = [str(BIN / "temporal"), "workflow", "signal", *workflow, "--name", "approve", "--input", told]
        subprocess.run(signal_it, check=True, capture_output=True)
        with sign_in(api, "rita") as rita:
            end = time.monotonic() + 20
            while not (
                mine := [e for e in rita.get("/v1/quotes/Q-1004/audit").json()["items"] if e["actor"] == "dora"]
            ):
                assert time.monotonic() < end
                time.sleep(0.1)
        assert (mine[0]["code"], mine[0]["verified"], mine[0]["channel"]) == ("approved", False, "signal")
        busy = subprocess.run(
            [str(BIN / "dealwright"), "dev", "--home", str(tmp_path / "other"), "--api-port", str(ports.api)],
            capture_output=True, text=True, env=CLEAN, cwd=ROOT, timeout=60, check=False,
        )  # fmt: skip
        assert busy.returncode == 1
        assert f"Port {ports.api} is taken" in busy.stderr
        assert "--api-port" in busy.stderr
        assert "Traceback" not in busy.stderr
        twice = [str(BIN / "dealwright"), "dev", "--home", str(home)]
        second = subprocess.run(twice, capture_output=True, text=True, env=CLEAN, cwd=ROOT, timeout=60, check=False)
        assert second.returncode == 1
        assert f"process {running.pid} runs Dealwright there since" in second.stderr.replace("\n", " ")
        assert "every one in its place" in dealwright("audit", "verify", home=home)
        assert "histories replayed" in dealwright("replay", home=home)
        assert dealwright("policy", "export", home=home) == (ROOT / "samples" / "policy-quote.yaml").read_text()
    with dev(home, ports, "--no-samples"), sign_in(api, "fabio") as fabio:
        (item,) = fabio.get("/v1/inbox").json()["items"]
        body = {"digest": item["digest"]}
        assert fabio.post(f"/v1/approvals/{item['approval']}/approve", json=body).status_code == 200
    heads = tmp_path / "heads.jsonl"
    dealwright("audit", "heads", str(heads), home=home)
    with sqlite3.connect(home / "dealwright.db") as database:
        database.execute(
            "delete from event where subject = 'quote:Q-1004' and seq = (select max(seq) from event where subject = 'quote:Q-1004')"
        )
    database.close()
    assert "every one in its place" in dealwright("audit", "verify", home=home)
    assert "was there when the heads were exported" in dealwright(
        "audit", "verify", "--heads", str(heads), home=home, expect=1
    )
    with sqlite3.connect(home / "dealwright.db") as database:
        database.execute("update event set actor = 'eve' where subject = 'quote:Q-1004' and seq = 2")
    database.close()
    assert "changed after it was written" in dealwright("audit", "verify", home=home, expect=1)


def test_processes_that_a_killed_parent_left_behind_are_ended_by_the_next_start(tmp_path: Path) -> None:
    """Where the system cannot end them with their parent; another's process of the same number is left alone."""
    ours = subprocess.Popen(["sleep", "60"], env={"HOME_OF_STACK": str(tmp_path)})
    others = subprocess.Popen(["sleep", "60"], env={})
    try:
        (tmp_path / "processes.json").write_text(f'{{"worker": {ours.pid}, "api": {others.pid}}}')
        reaped = threading.Thread(target=ours.wait)
        reaped.start()
        assert Stack(tmp_path).end_leftovers() == [f"worker (process {ours.pid})"]
        reaped.join(10)
        assert (ours.returncode, others.poll()) == (-signal.SIGTERM, None)
        assert Stack(tmp_path).end_leftovers() == []
    finally:
        ours.kill()
        others.kill()
        others.wait()


def test_the_tour_holds() -> None:
    assert "All 27 steps held" in dealwright("tour")


@needs_tryton
@pytest.mark.skipif(not SOAK, reason="it is part of `make soak`: `test_tryton.py` has the real ERP here")
def test_the_tour_holds_with_a_real_erp() -> None:
    assert "All 27 steps held" in dealwright("tour", "--erp", "tryton")


def test_errors_are_one_clear_line(tmp_path: Path) -> None:
    said = dealwright("audit", "verify", home=tmp_path / "nowhere", expect=1)
    assert "make run" in said
    assert "Traceback" not in said


async def test_the_temporal_ui_shows_what_a_run_waits_for(live: Live) -> None:
    from tests.support import a_quote

    body = a_quote("UI-1", discount="15").model_dump(mode="json")
    await live.call("rita", "PUT", "/v1/quotes/UI-1", json=body)
    await live.call("rita", "POST", "/v1/quotes/UI-1/submit")
    client = await live.container.temporal.client(lazy=False)

    async def is_listed() -> bool:
        query = "DealwrightStatus = 'pending' AND DealwrightWaitingOn = 'dora' AND DealwrightCustomer = 'Acme'"
        return "quote:UI-1:approval:1" in [run.id async for run in client.list_workflows(query)]

    await until(is_listed, "the run in the list of the UI", 20)
    description = await client.get_workflow_handle("quote:UI-1:approval:1").describe()
    assert await description.static_summary() == "Quote UI-1 · Acme · 15.0 % · €85.00"
    history = await client.get_workflow_handle("quote:UI-1:approval:1").fetch_history()
    upserts = [e for e in history.events if e.HasField("upsert_workflow_search_attributes_event_attributes")]
    assert not upserts, "it was listed from the start as it stands now that it is open"
    async with live.container.database.reading() as session:
        round, _ = await rounds.round_of(session, "quote:UI-1:approval:1")
    assert round.running
    path = f"/v1/approvals/{round.approvals[0].id}/approve"
    assert (await live.call("dora", "POST", path, json={"digest": round.digest})).status_code == 200

    async def told() -> bool:  # the answer comes from the database, which is a moment before the history
        history = await client.get_workflow_handle("quote:UI-1:approval:1").fetch_history()
        markers = [e for e in history.events if e.HasField("marker_recorded_event_attributes")]
        return any(b"approve by dora" in marker.user_metadata.summary.data for marker in markers)

    await until(told, "the step in the history", 20)


def unused_ports(count: int) -> list[int]:
    with ExitStack() as stack:
        return [stack.enter_context(socket.create_server((HOST, 0))).getsockname()[1] for _ in range(count)]


async def test_the_production_shape_runs_on_postgresql(pg: Postgres | None, tmp_path: Path, live: Live) -> None:
    """Each service's own command and environment out of docker-compose.yml, natively, against PostgreSQL."""
    server = installed(pg)
    compose = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
    url = server.create("production")
    (port,) = unused_ports(1)
    given = {"POSTGRES_PASSWORD": "x", "DEALWRIGHT_SECRET": "s" * 40, "DEALWRIGHT_AUDIT_KEY": "a" * 40, "DEALWRIGHT_COMMAND_KEY": "c" * 40,
             "DEALWRIGHT_SMTP_PORT": str(live.stack.ports.mail), "DEALWRIGHT_SMTP_START_TLS": "false"}  # fmt: skip

    def environment(service: str) -> dict[str, str]:
        """The service's environment as compose would resolve it, but for the hosts, which have no names here."""
        found = {}
        for name, value in compose["services"][service]["environment"].items():
            text = str(value)
            while "${" in text:
                start = text.index("${")
                inner = text[start + 2 : text.index("}", start)]
                variable, _, rest = inner.partition(":")
                default = rest[1:] if rest.startswith("-") else ""
                text = text.replace("${" + inner + "}", given.get(variable, default))
            found[name] = text
        hosts = {"DEALWRIGHT_DATABASE_URL": url, "TEMPORAL_ADDRESS": f"{HOST}:{live.stack.ports.temporal}"}
        return {
            **CLEAN,
            **found,
            **hosts,
            "PATH": f"{BIN}:{os.environ['PATH']}",
            "TEMPORAL_NAMESPACE": "shape",
        }

    def command(service: str) -> list[str]:
        return [
            part.replace("0.0.0.0", HOST).replace("8080", str(port)) for part in compose["services"][service]["command"]
        ]

    temporal = [
        str(BIN / "temporal"),
        "operator",
        "namespace",
        "create",
        "-n",
        "shape",
        "--address",
        f"{HOST}:{live.stack.ports.temporal}",
    ]
    subprocess.run(temporal, check=True, capture_output=True)
    for once in ("migrate", "attributes"):
        await asyncio.to_thread(
            subprocess.run, command(once), env=environment(once), cwd=ROOT, check=True, capture_output=True
        )
    running = []
    log = (tmp_path / "services.log").open("wb")
    probes = dict(
        zip(("worker-approvals", "worker-orders", "worker-erp", "worker-notify"), unused_ports(4), strict=True)
    )
    try:
        for service in ("api", *probes):
            own = {
                "DEALWRIGHT_WORKER_PORT": str(probes.get(service, 0)),
                "DEALWRIGHT_AUDIT_HEADS_FOLDER": str(tmp_path / "heads"),
            }
            running.append(
                subprocess.Popen(command(service), env=environment(service) | own, cwd=ROOT, stdout=log, stderr=log)
            )
        api = f"http://{HOST}:{port}"

        async def ready() -> bool:
            try:
                async with httpx.AsyncClient() as client:
                    return (await client.get(f"{api}/readyz")).status_code == 200
            except httpx.HTTPError:
                return False

        await until(ready, f"readiness; {(tmp_path / 'services.log').read_text()[-2000:]}", 60)
        for service, at in probes.items():
            async with httpx.AsyncClient(base_url=f"http://{HOST}:{at}") as client:
                found = (await client.get("/readyz")).json()
                queue = "queue_" + service.removeprefix("worker-")
                wanted = {"ready": True, "database": True, "temporal": True}
                assert found == (wanted if service == "worker-erp" else {**wanted, queue: True}), service
                assert (await client.get("/healthz")).json() == {"status": "ok"}
                assert "process_cpu_seconds_total" in (await client.get("/metrics")).text
        loaded = [str(BIN / "dealwright"), "samples"]
        await asyncio.to_thread(
            subprocess.run, loaded, env=environment("api"), cwd=ROOT, check=True, capture_output=True
        )
        rita = await asyncio.to_thread(sign_in, api, "rita")
        assert rita.post("/v1/quotes/Q-1002/submit").status_code == 200
        dora = await asyncio.to_thread(sign_in, api, "dora")
        (item,) = dora.get("/v1/inbox").json()["items"]
        done = dora.post(f"/v1/approvals/{item['approval']}/approve", json={"digest": item["digest"]})
        assert done.json()["outcome"]["code"] == "approved"
        rita.close()
        dora.close()
    finally:
        for process in running:
            process.terminate()
        for process in running:
            process.wait(30)
        log.close()
