"""`dealwright erp …`: a real Tryton beside Dealwright, and the people of its warehouse."""

import asyncio
import signal
import threading
from collections.abc import Awaitable, Callable
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Annotated, TypeVar

import typer
from rich.table import Column, Table

from cli.dev import Child, Ports, taken
from cli.output import DEFAULT_HOME, HomeOption, Json, errors, fail, progress, screen
from domain.values import plain_number
from erp.port import ErpError
from erp.tryton.install import CannotPrepare, Installation, Server
from erp.tryton.warehouse import Parcel, Warehouse

erp = typer.Typer(no_args_is_help=True, help="A real ERP (Tryton) to sync with.")
ErpPort = Annotated[int, typer.Option(help="Tryton")]
OrderId = Annotated[str, typer.Argument(help="The order's id, as Dealwright shows it")]
T = TypeVar("T")


def prepared(home: Path, port: int) -> Server:
    """Tryton's database of this home, made if it is not there; it does not run yet."""
    return installed(home, port).server(home.resolve() / "erp" / "data", port)


def installed(home: Path, port: int) -> Installation:
    """Tryton's programs and template, made if they are not there."""
    installation = Installation(home.resolve() / "erp")
    if why := taken(port):
        raise fail(f"Port {port} is taken ({why}). Stop what uses it, or choose another: --erp-port")
    try:
        with progress("Preparing Tryton, once") as say:
            installation.prepare(port, say)
    except CannotPrepare as error:
        raise fail(str(error)) from None
    return installation


@erp.command()
def prepare(home: HomeOption = DEFAULT_HOME, erp_port: ErpPort = Ports.erp) -> None:
    """Install Tryton into an environment of its own and found a company in it."""
    server = prepared(home, erp_port)
    screen.print(f"Tryton is ready in {server.home}. Start it with Dealwright: dealwright dev --erp tryton")


@erp.command()
def start(home: HomeOption = DEFAULT_HOME, erp_port: ErpPort = Ports.erp) -> None:
    """Run Tryton alone, prepared if it is not. Ctrl-C stops it."""
    server = prepared(home, erp_port)
    told = server.home / "settings.env"
    told.touch(mode=0o600)
    told.write_text("".join(f"{name}={value}\n" for name, value in server.settings.items()))
    child, stop = Child("tryton", server.command, {}, server.home / "trytond.log"), threading.Event()
    for name in (signal.SIGINT, signal.SIGTERM):
        signal.signal(name, lambda *_: stop.set())
    child.start()
    try:
        asyncio.run(server.answers())
        errors.print(
            f"Tryton answers at {server.url}. A worker reaches it with the settings in {told}. Ctrl-C stops it."
        )
        while child.alive and not stop.wait(1):
            pass
        if not stop.is_set():
            raise fail(f"Tryton ended. The end of {child.log}:\n{child.last_words()}")
    except CannotPrepare as error:
        raise fail(str(error)) from None
    finally:
        child.stop()


def _with_warehouse(home: Path, act: Callable[[Warehouse], Awaitable[T]]) -> T:
    server = Server.kept_in(home.resolve() / "erp" / "data")
    if server is None:
        raise fail(f"There is no Tryton in {home}/. Start one: dealwright dev --erp tryton")

    async def run() -> T:
        warehouse = server.warehouse()
        try:
            return await act(warehouse)
        finally:
            await warehouse.close()

    try:
        return asyncio.run(run())
    except ErpError as trouble:
        raise fail(str(trouble)) from None


@erp.command()
def sales(home: HomeOption = DEFAULT_HOME, as_json: Json = False) -> None:
    """The orders that Tryton has, the newest first."""
    found = _with_warehouse(home, lambda warehouse: warehouse.sales())
    rows = [
        {
            "order": one["web_id"],
            "number": one["number"],
            "customer": one["party."]["rec_name"],
            "state": one["state"],
            "shipments": one["shipment_state"],
            "total": f"{one['total_amount']} {one['currency.']['code']}",
        }
        for one in found
    ]
    if as_json:
        return screen.print_json(data=rows)
    table = Table(Column("Order", overflow="fold"), "Sale", "Customer", "State", "Shipments", "Total")
    for row in rows:
        table.add_row(*(str(value or "") for value in row.values()))
    return screen.print(table if rows else "Tryton has no orders of ours yet.")


@erp.command()
def parcels(order: OrderId, home: HomeOption = DEFAULT_HOME, as_json: Json = False) -> None:
    """What was and will be sent for an order."""
    found = _with_warehouse(home, lambda warehouse: warehouse.parcels(order))
    if as_json:
        return screen.print_json(data=[parcel.model_dump(mode="json") for parcel in found])
    return screen.print(_table(found) if found else f"Tryton sends nothing for {order}.")


@erp.command()
def ship(
    order: OrderId,
    only: Annotated[list[str] | None, typer.Option(help="LINE=QUANTITY: no more than that, of no other line")] = None,
    to: Annotated[str, typer.Option(help="How far: assigned, picked, packed, shipped or done (delivered)")] = "done",
    home: HomeOption = DEFAULT_HOME,
) -> None:
    """Send off what waits in the warehouse, or a part of it; the rest waits on as a back order."""
    quantities = _quantities(only) if only else None
    if to not in ("assigned", "picked", "packed", "shipped", "done"):
        raise fail("--to is one of assigned, picked, packed, shipped, done")
    parcel = _with_warehouse(home, lambda warehouse: warehouse.ship(order, quantities, to))
    screen.print(_table([parcel]))


def _quantities(only: list[str]) -> dict[str, Decimal]:
    found = {}
    for part in only:
        line, _, quantity = part.partition("=")
        try:
            found[line] = Decimal(quantity)
        except InvalidOperation:
            raise fail(f"--only {part}: write it like 1=2, for two of line 1") from None
        if not (found[line].is_finite() and found[line] > 0):
            raise fail(f"--only {part}: the quantity must be more than nothing")
    return found


def _table(found: list[Parcel]) -> Table:
    table = Table("Shipment", "State", "Lines")
    for parcel in found:
        lines = ", ".join(f"{line}: {plain_number(quantity)}" for line, quantity in parcel.lines.items())
        table.add_row(str(parcel.id), parcel.state, lines)
    return table
