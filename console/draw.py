"""The approval path as a picture: chains below each other, steps from left to right, drawn by the server."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup, escape

from domain.approvals.plan import Plan, PlannedApproval
from domain.approvals.round import Approval, Round

WIDTH, HEIGHT, GAP_X, GAP_Y = 196, 54, 38, 14
LEFT, CHAIN_LABEL, END = 84, 20, 84
PHONE = 340
MARKS = {
    "approved": "✓", "covered": "✓", "carried": "↪", "rejected": "✕", "requested": "…", "waiting": "", "planned": "",
    "revoked": "–", "expired": "!", "informed": "i",
}  # fmt: skip


@dataclass(frozen=True)
class Node:
    """One approval in the picture."""

    id: str
    title: str
    who: str
    status: str
    status_text: str


@dataclass(frozen=True)
class Row:
    """One chain: its steps in order, each a column of parallel approvals, and the chains it waits for."""

    name: str
    steps: list[list[Node]]
    after: tuple[str, ...] = ()

    @property
    def height(self) -> int:
        return CHAIN_LABEL + max(len(step) for step in self.steps) * (HEIGHT + GAP_Y)


def rows_of_round(round: Round, names: dict[str, str], say: Any) -> list[Row]:
    nodes = [(a.chain, a.order, _approval_node(a, names, say)) for a in round.approvals]
    return _rows(nodes, round.after)


def rows_of_plan(plan: Plan, names: dict[str, str], say: Any) -> list[Row]:
    nodes = [
        (
            p.chain,
            (p.step, p.tier),
            Node(
                f"p{n}", p.title, _who(p.seats, len(p.seats) if p.inform else p.needed, names, say), *_planned(p, say)
            ),
        )
        for n, p in enumerate(plan.approvals)
    ]
    return _rows(nodes, plan.after)


def _planned(planned: PlannedApproval, say: Any) -> tuple[str, str]:
    if planned.inform:
        return "planned", say("Will be told")
    return ("carried", say("Carried")) if planned.carried else ("planned", say("Planned"))


def _approval_node(approval: Approval, names: dict[str, str], say: Any) -> Node:
    decided = [seat.by or seat.holder for seat in approval.seats if seat.vote]
    done = bool(decided) and not approval.status.open
    needed = len(approval.seats) if approval.inform else approval.needed
    who = ", ".join(names.get(p, p) for p in decided) if done else _who(approval.holders, needed, names, say)
    return Node(approval.id, approval.title, who, approval.status.value, say(approval.status.value.capitalize()))


def _who(people: Iterable[str], needed: int, names: dict[str, str], say: Any) -> str:
    known = [names.get(person, person) for person in people]
    if len(known) <= 1:
        return "".join(known)
    join = say(" and ") if needed >= len(known) else say(" or ") if needed == 1 else ", "
    return join.join(known) if needed in (1, len(known)) else say("{n} of {all}", n=needed, all=", ".join(known))


def _rows(nodes: list[tuple[str, tuple[int, int], Node]], after: dict[str, tuple[str, ...]]) -> list[Row]:
    rows = []
    for chain in dict.fromkeys(chain for chain, _, _ in nodes):
        orders = sorted({order for name, order, _ in nodes if name == chain})
        steps = [[node for name, at, node in nodes if name == chain and at == order] for order in orders]
        rows.append(Row(chain, steps, after.get(chain, ())))
    return sorted(rows, key=lambda row: _columns(rows)[row.name])


def _columns(rows: list[Row]) -> dict[str, int]:
    """The column in which each chain starts: right of the chains it waits for."""
    known = {row.name: row for row in rows}

    def start(row: Row) -> int:
        return max((start(known[b]) + len(known[b].steps) for b in row.after if b in known), default=0)

    return {row.name: start(row) for row in rows}


def _cut(text: str, most: int) -> str:
    return text if len(text) <= most else text[: most - 1] + "…"


def chain_name(name: str) -> str:
    """A chain as people read it; a rule's own chain carries the rule's name."""
    return name.removeprefix("rule.").replace("-", " ").replace("_", " ").capitalize()


def path_svg(rows: list[Row], outcome: str, say: Any) -> Markup:
    """Wide picture: submit on the left, the outcome on the right, chains in between."""
    columns = _columns(rows)
    deepest = max(columns[row.name] + len(row.steps) for row in rows)
    right = LEFT + deepest * (WIDTH + GAP_X)
    height = sum(row.height for row in rows) + GAP_Y
    middle = height / 2
    shapes = []
    y = 4.0
    for row in rows:
        line = y + CHAIN_LABEL + HEIGHT / 2
        x = LEFT + GAP_X / 2 + columns[row.name] * (WIDTH + GAP_X)
        origin = (62.0, middle) if columns[row.name] == 0 else (x - GAP_X, line)
        shapes.append(_edge(*origin, x, line))
        label = chain_name(row.name)
        if waits := [chain_name(b) for b in row.after]:
            label += " · " + say("after {chains}", chains=", ".join(waits))
        shapes.append(f'<text class="chain" x="{x}" y="{y + 13}">{escape(_cut(label, 60))}</text>')
        for n, step in enumerate(row.steps):
            left = x + n * (WIDTH + GAP_X)
            for k, node in enumerate(step):
                top = y + CHAIN_LABEL + k * (HEIGHT + GAP_Y)
                shapes.append(_node(node, left, top, WIDTH))
                if n + 1 < len(row.steps):
                    shapes.append(_edge(left + WIDTH, top + HEIGHT / 2, left + WIDTH + GAP_X, line))
        end = x + len(row.steps) * (WIDTH + GAP_X) - GAP_X
        shapes.append(_edge(end, line, right + 18, middle))
        y += row.height
    shapes.append(_dot(34, middle, "begin", say("Submit")))
    shapes.append(_dot(right + 46, middle, outcome, say(outcome.capitalize())))
    title = escape(say("Approval path with {n} chains", n=len(rows)))
    box = f"0 0 {right + END} {height}"
    return Markup(f'<svg class="path" viewBox="{box}" role="img" aria-label="{title}">{"".join(shapes)}</svg>')


def path_svg_phone(rows: list[Row], say: Any) -> Markup:
    """Narrow picture: one column, each chain a rail of its own."""
    shapes, y = [], 4
    for row in rows:
        shapes.append(f'<text class="chain" x="8" y="{y + 14}">{escape(_cut(chain_name(row.name), 40))}</text>')
        y += CHAIN_LABEL + 4
        for n, step in enumerate(row.steps):
            if n:
                shapes.append(f'<path class="edge" d="M30 {y - GAP_Y} V{y}"/>')
            for node in step:
                shapes.append(_node(node, 8, y, PHONE - 16))
                y += HEIGHT + GAP_Y
        y += 6
    title = escape(say("Approval path with {n} chains", n=len(rows)))
    return Markup(
        f'<svg class="path phone" viewBox="0 0 {PHONE} {y}" role="img" aria-label="{title}">{"".join(shapes)}</svg>'
    )


def _edge(x1: float, y1: float, x2: float, y2: float) -> str:
    bend = min(40.0, (x2 - x1) / 2)
    return f'<path class="edge" d="M{x1} {y1} C {x1 + bend} {y1} {x2 - bend} {y2} {x2} {y2}"/>'


def _node(node: Node, x: float, y: float, width: int) -> str:
    most = (width - 56) // 7
    label = escape(f"{node.title}, {node.who}: {node.status_text}")
    return (
        f'<g class="node {node.status}"><title>{label}</title>'
        f'<rect x="{x}" y="{y}" width="{width}" height="{HEIGHT}" rx="10"/>'
        f'<circle cx="{x + 24}" cy="{y + HEIGHT / 2}" r="12"/>'
        f'<text class="mark" x="{x + 24}" y="{y + HEIGHT / 2 + 5}">{MARKS[node.status]}</text>'
        f'<text class="what" x="{x + 44}" y="{y + 23}">{escape(_cut(node.title, most))}</text>'
        f'<text class="who" x="{x + 44}" y="{y + 41}">{escape(_cut(node.who, most))}</text></g>'
    )


def _dot(x: float, y: float, kind: str, text: str) -> str:
    label = escape(_cut(text, 10))
    return f'<g class="dot {kind}"><circle cx="{x}" cy="{y}" r="30"/><text x="{x}" y="{y + 4}">{label}</text></g>'
