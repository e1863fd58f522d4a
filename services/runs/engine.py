"""What services ask of Temporal. `app.temporal` does it; tests without Temporal have another."""

from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Literal, Protocol

from temporalio.client import Client

from domain.runs import Command
from domain.runs.contracts import (
    Split,
)
from storage.runs.runs import RunSnapshot

RPC_LIMIT = timedelta(seconds=2)
Connect = Callable[[], Awaitable[Client]]
ExecutionCondition = Literal["follows", "lost", "ended", "foreign", "stuck"]
"""Of an execution: it runs as it should, nobody knows it, it has ended, it is not ours, or its task fails."""


class Connection(Protocol):
    """Temporal, connected to when it is first asked."""

    async def client(self, lazy: bool = True) -> Client: ...

    def forget(self) -> None:
        """Connect anew at the next call."""


class Engine(Protocol):
    async def start_sweep(self) -> None:
        """Start the one run that sweeps, where it does not run."""

    async def signal(self, run: RunSnapshot, command: Command | None) -> None:
        """Tell a run of a command that was applied, or wake it; start it where it does not run."""

    async def split(self, split: Split) -> None:
        """Start the run that starts the orders of a split."""

    async def replace(self, id: str) -> None:
        """Start the run of a replacement, or make it look again."""

    async def condition(self, run: RunSnapshot) -> ExecutionCondition: ...

    async def terminate(self, run: str, reason: str) -> None: ...
