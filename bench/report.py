"""Prints tables as they come, and all ratios with their targets at the end."""

from rich.console import Console
from rich.table import Table


def ratio(a: float, b: float) -> float:
    return a / b if b else float("nan")


class Report:
    def __init__(self) -> None:
        self._console = Console(width=150)
        self._ratios: list[tuple[str, float, str]] = []

    def say(self, text: str) -> None:
        self._console.print(text)

    def show(self, table: Table) -> None:
        self._console.print(table)

    def ratio(self, name: str, value: float, target: str) -> None:
        self._ratios.append((name, value, target))
        self._console.print(f"  {name}: [bold]{value:.2f}[/] (wanted {target})")

    def close(self) -> None:
        table = Table("figure", "measured", "wanted", title="All figures of this run")
        for name, value, target in self._ratios:
            table.add_row(name, f"{value:.2f}", target)
        self._console.print(table)
