"""Orders into the real Tryton: bare REST calls, ours one at a time, and ours when many wait."""

import asyncio
import base64
import json
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any

import httpx
from rich.table import Table

from bench.report import Report, ratio
from cli.dev import Ports
from domain.erp import Document
from erp.port import Answer
from erp.tryton.adapter import Tryton
from erp.tryton.install import ADMIN, SHOP, USER, Installation, Server
from erp.tryton.rpc import Rpc
from tests.support import NOW

ORDERS, BACKLOG, TURNS = 10, 60, 3


def a_document(order: str) -> Document:
    lines = [{"line": str(n), "product": f"P-{n}", "name": f"Pump {n}", "quantity": "4", "net_total": "113.72",
              "ships": True} for n in (1, 2)]  # fmt: skip
    body = {"order": order, "quote": "Q", "currency": "EUR", "net_total": "227.44", "ship_to": None, "lines": lines}
    return Document(order=order, version=1, kind="order", customer="C-1", customer_name="Acme", asked_at=NOW, body=body)


class Bare:
    """The three calls that make a sale, and nothing around them."""

    def __init__(self, server: Server, key: str, known: dict[str, Any]) -> None:
        told = base64.urlsafe_b64encode(json.dumps({"company": 1}).encode()).decode()
        headers = {"Authorization": f"Bearer {key}", "X-Tryton-Context": told}
        self._http = httpx.AsyncClient(base_url=f"{server.url}/rest/model/", headers=headers, timeout=60)
        self._known = known

    async def sell(self, order: str) -> None:
        sale = await self._post("sale.sale?f=id", {**self._known, "web_id": order})
        for button in ("quote", "confirm"):
            await self._post(f"sale.sale/{sale['id']}/{button}?f=state", None)

    async def _post(self, path: str, body: Any) -> Any:
        answer = await self._http.post(path, json=body)
        assert answer.is_success, answer.text
        return answer.json()


async def bare_calls(server: Server, like: str) -> Bare:
    """With everything looked up beforehand, from a sale that is there."""
    admin = Rpc(server.url, ADMIN, server.admin_password)
    fields = ["web_shop", "party", "invoice_address", "shipment_address", "currency", "lines.product", "lines.unit"]
    (sale,) = await admin.search("sale.sale", [["web_id", "=", like]], fields)
    lines = [{"type": "line", "product": line["product"], "unit": line["unit"], "quantity": 4.0, "unit_price": "28.43"}
             for line in sale["lines."]]  # fmt: skip
    (user,) = await admin.search("res.user", [["login", "=", USER]], ["login"])
    (id,) = await admin.create("res.user.application", {"user": user["id"], "application": "rest"})
    ((key),) = [one["key"] for one in await admin.model("res.user.application", "read", [id], ["key"])]
    known = {name: sale[name] for name in fields[:5]}
    return Bare(server, key, {**known, "lines": [["create", lines]]})


async def one(ours: Tryton, order: str) -> None:
    (outcome,) = await ours.put([a_document(order)])
    assert isinstance(outcome, Answer), outcome


async def _measured(server: Server) -> dict[str, list[float]]:
    """Orders per second of each way, turn by turn."""
    await server.answers()
    ours = Tryton(server.rpc(), SHOP)
    await ours.put([a_document("warm")])
    bare = await bare_calls(server, "warm")
    await bare.sell("warm-bare")
    rates: dict[str, list[float]] = {"bare": [], "ours": [], "backlog": []}
    for turn in range(TURNS):
        spent = {"bare": 0.0, "ours": 0.0}
        for n in range(ORDERS):  # in turns: Tryton becomes slower with every sale it has
            for name, sell in (("bare", bare.sell(f"bare-{turn}-{n}")), ("ours", one(ours, f"ours-{turn}-{n}"))):
                began = time.perf_counter()
                await sell
                spent[name] += time.perf_counter() - began
        for name, seconds in spent.items():
            rates[name].append(ORDERS / seconds)
        waiting = [a_document(f"backlog-{turn}-{n}") for n in range(BACKLOG)]
        began = time.perf_counter()
        for n in range(0, BACKLOG, ours.batch):
            outcomes = await ours.put(waiting[n : n + ours.batch])
            assert all(isinstance(outcome, Answer) for outcome in outcomes), outcomes
        rates["backlog"].append(BACKLOG / (time.perf_counter() - began))
    return rates


async def run(report: Report) -> None:
    installed = Installation(Path(".home/erp").resolve())
    if not installed.ready:
        report.say("Tryton is not installed: `dealwright erp prepare`")
        return
    with tempfile.TemporaryDirectory() as folder:
        server = installed.server(Path(folder) / "erp", Ports.free().erp)
        with (Path(folder) / "log").open("ab") as log:
            process = subprocess.Popen(server.command, stdout=log, stderr=log, stdin=subprocess.DEVNULL)
        try:
            rates = await _measured(server)
        finally:
            process.terminate()
            await asyncio.to_thread(process.wait)
    mean = {name: sum(found) / len(found) for name, found in rates.items()}
    table = Table("Orders into Tryton", "a second")
    table.add_row("bare REST calls, one order after another", f"{mean['bare']:.1f}")
    table.add_row("ours, one after another", f"{mean['ours']:.1f}")
    table.add_row(f"ours, {BACKLOG} waiting", f"{mean['backlog']:.1f}")
    report.show(table)
    report.ratio("orders a second into Tryton : bare REST calls", ratio(mean["ours"], mean["bare"]), "≥ 0.9")
    report.ratio("a backlog into Tryton : bare REST calls", ratio(mean["backlog"], mean["bare"]), "≥ 3")
