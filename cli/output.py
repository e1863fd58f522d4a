"""How the command line speaks: tables and JSON on one stream, progress and errors on the other."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

WIDE = 400
"""Columns of what is written into a file or a pipe: nobody sees there what is cut off."""
screen = Console(width=None if sys.stdout.isatty() else WIDE)
errors = Console(stderr=True, width=None if sys.stderr.isatty() else WIDE)
Json = Annotated[bool, typer.Option("--json", help="Print JSON for machines.")]
HomeOption = Annotated[Path, typer.Option(help="Where everything is kept.")]
DEFAULT_HOME = Path(".home")


AWAY = 2
"""The exit code where something that is needed does not answer."""


def fail(sentence: str, code: int = 1) -> typer.Exit:
    """One clear line, and an exit code that is not 0."""
    errors.print(f"[bold red]error[/] {escape(sentence)}", highlight=False, soft_wrap=True)
    return typer.Exit(code)


@contextmanager
def progress(text: str) -> Iterator[Callable[[str], None]]:
    """A line that moves while something takes long."""
    columns = (SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn())
    with Progress(*columns, console=errors, transient=True) as bar:
        task = bar.add_task(text)
        yield lambda step: bar.update(task, description=f"{text}: {step}"[:100])
