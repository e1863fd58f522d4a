"""Stopping and starting one process of a running `dealwright dev`, to see what goes on without it."""

import json
import time
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from cli.dev import Ports, Stack, taken
from cli.output import DEFAULT_HOME, HomeOption, fail, screen

PART_SECONDS = 30.0


class Part(StrEnum):
    """What can be stopped under `dealwright dev`, by the name of its process."""

    TEMPORAL = "engine"
    WORKER = "worker"


PartArgument = Annotated[str, typer.Argument(help="temporal or worker", metavar="temporal|worker")]


def stop_part(part: PartArgument, home: HomeOption = DEFAULT_HOME) -> None:
    """Stop Temporal or the worker of a running `dealwright dev`, to see what goes on without."""
    stack, name = _running_part(part, home)
    stack.stopped(name).parent.mkdir(exist_ok=True)
    stack.stopped(name).touch()
    _wait_for_part(stack, name, "")
    screen.print(f"{part} is stopped. Let it run again: dealwright start {part}")


def start_part(part: PartArgument, home: HomeOption = DEFAULT_HOME) -> None:
    """Let what `dealwright stop` stopped run again."""
    stack, name = _running_part(part, home)
    stack.stopped(name).unlink(missing_ok=True)
    _wait_for_part(stack, name, "in use")
    screen.print(f"{part} runs.")


def _running_part(part: str, home: Path) -> tuple[Stack, str]:
    if part.upper() not in Part.__members__:
        raise fail(f"{part!r} is neither temporal nor worker")
    ports = home / "ports.json"
    if not ports.exists():
        raise fail(f"Nothing runs in {home}. Start it: make run")
    return Stack(home.resolve(), Ports(**json.loads(ports.read_text()))), Part[part.upper()].value


def _wait_for_part(stack: Stack, name: str, wanted: str) -> None:
    """`dealwright dev` looks every second; whether Temporal is there is seen by its port."""
    until = time.monotonic() + PART_SECONDS
    while name == Part.TEMPORAL and bool(taken(stack.ports.temporal)) != bool(wanted):
        if time.monotonic() > until:
            raise fail("Nothing happened. Does `dealwright dev` run there?")
        time.sleep(0.2)
