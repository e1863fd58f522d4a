"""Measures Dealwright and its peers by turns: `python -m bench.peers`. The peers have an environment of their own."""

import asyncio
import contextlib
import itertools
import os
import statistics
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import aiohttp
import psutil
import uvloop
from joserfc import jwt
from joserfc.jwk import OctKey
from rich.table import Table

from app import logs
from bench.approvals import AT_ONCE, ORDER, POLICY, Shop, cpu, many, running
from bench.bare import worker
from bench.report import Report
from cli.dev import HOST, Child, Ports
from domain.approvals.exchange import read_policy
from notify.catcher import catcher
from services.imports.samples import SYSTEM, load
from tests.conftest import container_of
from tests.databases import Postgres, postgres, programs
from tests.support import a_quote

HERE, SECRET = Path(__file__).parent, "p" * 40
PYTHON = HERE.parents[1] / ".venv-peers" / "bin" / "python"
ROUNDS, QUOTES, CLICKS = 4, 60, 15
numbers = itertools.count(1)


class Peer:
    """An application of the same API, and its letters' process."""

    def __init__(self, name: str, folder: Path, mail: int, pg: Postgres | None) -> None:
        self.name, self.folder, self.latencies = name, folder, list[float]()
        self.tokens: dict[str, str] = {}
        folder.mkdir()
        port = Ports.free().api
        self.url = f"http://{HOST}:{port}"
        database = f"{folder}/peer.db"
        given = {"PEER_SECRET": SECRET, "DB_URL": f"sqlite:///{database}", "DB_FILE": database, "SMTP_PORT": str(mail)}
        if pg:
            url = pg.create(f"{name}_peer")
            given |= {"DB_URL": url.replace("postgresql://", "postgresql+psycopg://"), "PG_NAME": f"{name}_peer",
                      "PG_HOST": HOST, "PG_PORT": str(pg.port)}  # fmt: skip
        table = "letter" if name == "plain" else "viewflow_site_letter"
        given |= {"LETTER_TABLE": table, "LETTER_SENT": "sent", "DJANGO_SETTINGS_MODULE": "viewflow_site.settings"}
        environment = {**os.environ, **given, "PYTHONPATH": f"{HERE}:{folder}"}
        python = str(PYTHON)
        (folder / "peer_migrations").mkdir()
        (folder / "peer_migrations" / "__init__.py").touch()
        prepare = [python, "-m", "plain_app" if name == "plain" else "viewflow_site.prepare"]
        subprocess.run(prepare, env=environment, cwd=HERE, check=True)
        serve = {
            "plain": [python, "-m", "uvicorn", "plain_app:app", "--host", HOST, "--port", str(port), "--no-access-log", "--log-level", "warning"],
            "viewflow": [python, "-m", "gunicorn", "viewflow_site.wsgi", "-b", f"{HOST}:{port}", "--threads", "20", "--keep-alive", "60"],
        }[name]  # fmt: skip
        self.children = {
            "api": Child("api", serve, environment, folder / "api.log"),
            "letters": Child("letters", [python, str(HERE / "mailer.py")], environment, folder / "letters.log"),
        }
        for child in self.children.values():
            child.start()

    async def call(self, who: str, method: str, path: str, **options: Any) -> Any:
        if who not in self.tokens:
            self.tokens[who] = jwt.encode({"alg": "HS256"}, {"sub": who}, OctKey.import_key(SECRET))
        headers = {"Authorization": f"Bearer {self.tokens[who]}"}
        async with self.client.request(method, path, headers=headers, **options) as answer:
            if answer.status != 200:
                raise RuntimeError(f"{self.name} {path}: {answer.status} {(await answer.text())[:200]}")
            return await answer.json()

    async def whole_quote(self) -> None:
        id = f"P-{next(numbers)}"
        body = a_quote(id, discount="15").model_dump(mode="json")
        body["lines"] = [{n: v for n, v in line.items() if v is not None} for line in body["lines"]]
        digest = (await self.call("rita", "PUT", f"/v1/quotes/{id}", json=body))["digest"]
        await self.call("rita", "POST", f"/v1/quotes/{id}/submit")
        for rule, who in ORDER:
            (round,) = await self.call("rita", "GET", f"/v1/quotes/{id}/rounds")
            asked = {a["rule"]: a["id"] for a in round["round"]["approvals"]}
            started = time.perf_counter()
            await self.call(who, "POST", f"/v1/approvals/{asked[rule]}/approve", json={"digest": digest})
            self.latencies.append(time.perf_counter() - started)

    async def settled(self) -> None:
        await asyncio.sleep(0.5)

    async def up(self, client: aiohttp.ClientSession) -> None:
        self.client = client
        for _ in range(100):
            with contextlib.suppress(aiohttp.ClientError):
                async with client.get("/"):
                    return
            await asyncio.sleep(0.1)
        raise TimeoutError(self.name)

    def stop(self) -> None:
        for child in self.children.values():
            child.stop()


@contextlib.contextmanager
def peers(folder: Path, mail: int, pg: Postgres | None) -> Iterator[list[Peer]]:
    made: list[Peer] = []
    try:
        for name in ("plain", "viewflow"):
            made.append(Peer(name, folder / name, mail, pg))
        yield made
    finally:
        for peer in made:
            peer.stop()


async def stretch(one: Any, children: dict[str, Child]) -> dict[str, Any]:
    """Quotes per second, CPU of each process for one, and clicks alone and many at once."""
    watched = {name: psutil.Process(child.process.pid) for name, child in children.items() if child.process}

    def spent() -> dict[str, float]:
        return {name: cpu(p) + sum(cpu(child) for child in p.children()) for name, p in watched.items()}

    before = spent()
    one.latencies.clear()
    seconds = await many(one.whole_quote, QUOTES, AT_ONCE)
    busy = list(one.latencies)
    await one.settled()
    used = {name: (after - before[name]) / QUOTES * 1000 for name, after in spent().items()}
    one.latencies.clear()
    await many(one.whole_quote, CLICKS, 1)
    return {"per_second": QUOTES / seconds, "cpu": used, "idle": list(one.latencies), "busy": busy}


async def measure(report: Report, name: str, url: str, folder: Path, pg: Postgres | None) -> None:
    mail = Ports.free().mail
    sink = catcher(folder / "sink", mail, HOST)
    sink.start()
    try:
        with running(url, folder / "home") as stack, peers(folder, mail, pg) as others:
            container = container_of(stack)
            await load(container.context, container.access)
            await container.policies.publish_policy(SYSTEM, read_policy(POLICY))
            engine = await container.temporal.client(lazy=False)
            async with contextlib.AsyncExitStack() as open_, worker(engine):
                shop = Shop(
                    stack, container, await open_.enter_async_context(aiohttp.ClientSession(stack.api_url)), engine
                )
                all_: dict[str, tuple[Any, dict[str, Child]]] = {"dealwright": (shop, stack.children)}
                for peer in others:
                    await peer.up(await open_.enter_async_context(aiohttp.ClientSession(peer.url)))
                    all_[peer.name] = (peer, peer.children)
                found: dict[str, list[dict[str, Any]]] = {kind: [] for kind in all_}
                for one, _ in all_.values():
                    await many(one.whole_quote, 20, 10)
                for n in range(ROUNDS):
                    for kind in list(all_) if n % 2 else reversed(all_):
                        found[kind].append(await stretch(*all_[kind]))
            await container.close()
    finally:
        sink.stop()
    show(report, name, found)


def show(report: Report, name: str, found: dict[str, list[dict[str, Any]]]) -> None:
    table = Table(
        "",
        "quotes/s",
        "CPU ms a quote",
        "click p50",
        "p95",
        f"p50, {AT_ONCE} at once",
        "p95",
        title=f"{name}; medians of {ROUNDS}",
    )
    rate, idle, work = {}, {}, {}
    for kind, some in found.items():
        rate[kind] = statistics.median(s["per_second"] for s in some)
        parts = {who: statistics.median(s["cpu"][who] for s in some) for who in some[0]["cpu"]}
        work[kind] = sum(parts.values())
        clicks, busy = ([v * 1000 for s in some for v in s[key]] for key in ("idle", "busy"))
        idle[kind] = statistics.median(clicks)
        said = ", ".join(f"{who} {ms:.0f}" for who, ms in parts.items())
        table.add_row(
            kind, f"{rate[kind]:.1f}", f"{work[kind]:.0f} ({said})", f"{idle[kind]:.1f}",
            f"{statistics.quantiles(clicks, n=20)[18]:.1f}", f"{statistics.median(busy):.0f}", f"{statistics.quantiles(busy, n=20)[18]:.0f}",
        )  # fmt: skip
    report.show(table)
    for peer in ("plain", "viewflow"):
        report.ratio(f"{name}: quotes per second, dealwright : {peer}", rate["dealwright"] / rate[peer], "printed")
        report.ratio(f"{name}: CPU per quote, dealwright : {peer}", work["dealwright"] / work[peer], "printed")
        report.ratio(f"{name}: p50 of a click, dealwright : {peer}", idle["dealwright"] / idle[peer], "printed")


async def main() -> None:
    if not PYTHON.exists():
        raise SystemExit("The peers have no environment yet: see bench/peers/README.md")
    report = Report()
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as stack:
        (Path(folder) / "sqlite").mkdir()
        await measure(report, "SQLite", "", Path(folder) / "sqlite", None)
        if programs() is None:
            return
        (Path(folder) / "server").mkdir()
        (Path(folder) / "postgres").mkdir()
        server = stack.enter_context(postgres(Path(folder) / "server"))
        await measure(report, "PostgreSQL", server.fresh(), Path(folder) / "postgres", server)


logs.configure(json=False, level=50)
uvloop.run(main())
