"""Writes a history of every shape of round beside this file. Run it when a workflow has changed on purpose:

    python -m tests.replay.make [shape …]

Keep the old files as long as runs of the old code may still be alive."""

import asyncio
import sys
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Any

from temporalio.service import RPCError

from cli.dev import Ports, Stack
from tests.conftest import ROOT, Live, container_of
from tests.e2e.conftest import LIMITS, Player, prepared, until

FOLDER = Path(__file__).parent
SUGGESTED = ["--dynamic-config-value", "limit.historyCount.suggestContinueAsNew=80"]

Act = tuple[str, str, str, dict[str, Any]]
SHAPES: dict[str, list[Act]] = {
    "approved": [("dora", "first", "approve", {}), ("fabio", "second", "approve", {})],
    "rejected": [("dora", "first", "approve", {}), ("fabio", "second", "reject", {"comment": "no"})],
    "recalled": [("rita", "", "recall", {})],
    "handed": [("dora", "first", "delegate", {"to": "lara"}), ("adam", "first", "reassign", {"to": "leif", "from": "lara"}),
               ("leif", "first", "approve", {}), ("fabio", "second", "approve", {})],
    "refused": [("lara", "first", "approve", {}), ("fabio", "second", "approve", {}), ("rita", "", "recall", {})],
    "begun": [("dora", "first", "approve", {}), ("fabio", "second", "approve", {})],
    "expired": [],
    "timed": [],
    "taken-back": [("dora", "first", "approve", {}), ("dora", "first", "take-back", {}),
                   ("dora", "first", "approve", {}), ("fabio", "second", "approve", {})],
    "asked": [("dora", "first", "consult", {"to": "leif", "question": "safe?"}), ("leif", "first", "advise", {"answer": "yes"}),
              ("rita", "first", "add-approver", {"to": "lara"}), ("dora", "first", "approve", {}),
              ("fabio", "second", "approve", {}), ("lara", "added", "approve", {})],
    **{name: [("dora", "first", "approve", {}), ("fabio", "second", "approve", {})] for name in ("ordered", "changed", "split", "returned")},
    "fallback": [("dora", "first", "approve", {}), ("rita", "", "recall", {})],
    "malformed": [("rita", "", "recall", {})],
    "long": [("dora" if n % 2 == 0 else "lara", "first", "delegate", {"to": "lara" if n % 2 == 0 else "dora"}) for n in range(16)]
    + [("rita", "", "recall", {})],
    "replaced": [("rita", "", "recall", {})],
}  # fmt: skip


async def play(player: Player, name: str, arm: Path) -> str:
    """One round of this shape; its run."""
    id = f"H-{name}"
    run = f"quote:{id}:approval:1"
    client = await player.live.container.temporal.client(lazy=False)
    await player.quote(
        id, **{"expired": {"short": True}, "timed": {"nagging": True}, "begun": {"nagging": True}}.get(name, {})
    )
    await player.surely("rita", f"/v1/quotes/{id}/submit", f"submit-{id}")
    digest, approvals = await player.approvals(id)
    if name == "malformed":
        for arguments in ([], ["text"], [{"actor": "ana"}, 1]):
            await client.get_workflow_handle(run).signal("approve", args=arguments)
    if name == "fallback":
        (arm / "local_fails").touch()
    if name == "replaced":
        run = await replaced(player)
    for n, (who, rule, act, body) in enumerate(SHAPES[name]):
        if rule == "added":
            digest, approvals = await player.approvals(id)
        path = f"/v1/approvals/{approvals[rule]}/{act}" if rule else f"/v1/quotes/{id}/{act}"
        shown = {"digest": digest} if act in ("approve", "reject", "delegate", "consult") else {}
        await player.surely(who, path, f"{id}-{n}", {**body, **shown})
        await player.settled()
        (arm / "local_fails").unlink(missing_ok=True)

    if name in ORDERS:
        run = await ORDERS[name](player, id)

    async def closed() -> bool:
        with suppress(RPCError):  # it is about to be started
            return (await client.get_workflow_handle(run).describe()).close_time is not None
        return False

    await until(closed, f"the end of {name}")
    return run


async def ordered(player: Player, id: str) -> str:
    """The run of an order that is held, released, moved to now, refused, asked for again, and delivered."""
    call, order = player.live.call, f"/v1/orders/{id}-1"
    await call("rita", "POST", f"/v1/quotes/{id}/accept", json={"on": "2026-01-02"})
    slot = {"trigger": {"start": "date", "on": "2030-01-01"}}
    await call("rita", "POST", f"/v1/quotes/{id}/orders", json={"way": "whole", "slot": slot})
    held = (await call("dina", "POST", f"{order}/hold", json={"reason": "credit check"})).json()
    await call("dina", "POST", f"{order}/release", json={"hold": held["outcome"]["facts"]["hold"]})
    await call("dina", "POST", f"{order}/reschedule", json={"start": "now"})

    async def activating() -> bool:
        return bool((await call("dina", "GET", order)).json()["status"] == "activating")

    await until(activating, "the start of the order")
    document = f"/v1/erp/documents/{id}-1"
    await call("bruno", "POST", f"{document}/refuse", json={"reason": "unknown tax number"})
    await call("dina", "POST", f"{order}/retry")
    await call("bruno", "POST", f"{document}/accept", json={"reference": "SO-1"})
    lines = (await call("dina", "GET", order)).json()["order"]["lines"]
    for n, line in enumerate(lines):
        body = {"id": f"D{n}", "lines": {line["line"]: line["share"]["quantity"]}}
        await call("bruno", "POST", f"{order}/deliveries", json=body)
    return f"order:{id}-1"


async def split(player: Player, id: str) -> str:
    """The run of a split into orders of which one is told something before it starts."""
    call, slot = player.live.call, {"trigger": {"start": "manual"}}
    await call("rita", "POST", f"/v1/quotes/{id}/accept", json={"on": "2026-01-02"})
    await call("rita", "POST", f"/v1/quotes/{id}/orders", json={"way": "whole", "slot": slot})
    return f"quote:{id}:split:1"


async def changed(player: Player, id: str) -> str:
    """The run of an order that is changed, undone, changed from a day on, cancelled while it starts, and then is."""
    call, order = player.live.call, f"/v1/orders/{id}-1"
    await split(player, id)
    await call("dina", "POST", f"{order}/amend", json={"note": "ring twice"})
    await call("dina", "POST", f"{order}/undo")
    await call("dina", "POST", f"{order}/amend", json={"contact": "Ana", "effective": "2031-01-01"})
    await call("dina", "POST", f"{order}/undo")
    await call("dina", "POST", f"{order}/go-live")
    await call("dina", "POST", f"{order}/cancel")
    await call("bruno", "POST", f"/v1/erp/documents/{id}-1/accept", json={"reference": "SO-1"})
    await call("bruno", "POST", f"/v1/erp/documents/{id}-1/accept")
    return f"order:{id}-1"


async def returned(player: Player, id: str) -> str:
    """The run of goods that were announced and came back."""
    await ordered(player, id)
    call, order = player.live.call, f"/v1/orders/{id}-1"
    lines = (await call("dina", "GET", order)).json()["order"]["lines"]
    back = {"id": "R1", "lines": {lines[0]["line"]: "1"}, "reason": "broken"}
    await call("bruno", "POST", f"{order}/returns", json=back)
    await call("bruno", "POST", f"{order}/returns/1/arrived")
    return f"order-return:{id}-1:1"


ORDERS = {"ordered": ordered, "changed": changed, "split": split, "returned": returned}


async def replaced(player: Player) -> str:
    """The run of a replacement that moves one approval."""
    asked = {"old": "dora", "new": "lara"}
    started = (await player.live.call("adam", "POST", "/v1/replacements", json=asked)).json()["id"]

    async def finished() -> bool:
        answer = await player.live.call("adam", "GET", f"/v1/replacements/{started}")
        return bool(answer.json()["replacement"]["status"] == "finished")

    await until(finished, "the end of the replacement")
    return f"replacement:{started}"


async def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        arm = Path(folder) / "arm"
        arm.mkdir()
        stack = Stack(
            Path(folder) / "home", Ports.free(), settings={**LIMITS, "ARM": str(arm), "PYTHONPATH": str(ROOT)}
        )
        prepare = stack.prepare

        def special() -> None:
            prepare()
            stack.children["worker"].command = [sys.executable, "-m", "tests.e2e.dying_worker"]
            stack.children["engine"].command += SUGGESTED

        stack.prepare = special  # type: ignore[method-assign]
        with stack.running():
            container = container_of(stack)
            await prepared(container)
            player = Player(Live(stack, container))
            client = await container.temporal.client(lazy=False)
            for name in sys.argv[1:] or SHAPES:
                run = await play(player, name, arm)
                part = 0
                async for each in client.list_workflows(f"WorkflowId = '{run}'"):
                    history = await client.get_workflow_handle(run, run_id=each.run_id).fetch_history()
                    kept = (run if name != "replaced" else "replacement:H-replaced").replace(":", "_")
                    kept += f"~{part}" if part else ""
                    text = history.to_json().replace(f"{ROOT}/", "")  # stack traces name the folder they ran in
                    (FOLDER / f"{kept}.json").write_text(text + "\n")
                    part += 1
                print(f"{name}: {part} histor{'y' if part == 1 else 'ies'}")
            await container.close()


if __name__ == "__main__":
    asyncio.run(main())
