"""Returns: their runs and their lists."""

from datetime import datetime
from decimal import Decimal

from sqlalchemy import update
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from domain.orders.ledger import ZERO
from domain.orders.returned import Return, ReturnStatus, return_run
from domain.values import Amount, Value
from storage.customers import fulfilment_facts
from storage.database import execute
from storage.runs.runs import RunSnapshot, insert_run
from storage.tables import OrderReturnRow, RunRow


class ReturnSummary(Value):
    order: str
    number: int
    reference: str
    status: ReturnStatus
    lines: dict[str, Amount]
    reason: str
    replaced_by: str | None
    created_at: datetime


async def of_order(session: AsyncSession, order: str) -> list[ReturnSummary]:
    query = select(OrderReturnRow).where(OrderReturnRow.order == order).order_by(col(OrderReturnRow.number))
    rows = (await session.exec(query)).all()
    return [ReturnSummary.model_validate(row.model_dump(include=set(ReturnSummary.model_fields))) for row in rows]


def quantities(returns: list[ReturnSummary]) -> dict[str, Decimal]:
    """How much of each line came or comes back."""
    found: dict[str, Decimal] = {}
    for one in returns:
        for name, quantity in one.lines.items() if one.status is not ReturnStatus.DECLINED else ():
            found[name] = found.get(name, ZERO) + quantity
    return found


async def add(session: AsyncSession, new: Return, reference: str, at: datetime) -> None:
    """The return's run at sequence number 0, beside its order's history."""
    run = RunSnapshot(
        id=return_run(new.order, new.number),
        kind="order_return",
        subject=f"order:{new.order}",
        seq=0,
        state=new.stored(),
    )
    await insert_run(session, run, at)
    session.add(
        OrderReturnRow(
            order=new.order,
            number=new.number,
            reference=reference,
            status=new.status.value,
            reason=new.reason,
            lines={name: str(quantity) for name, quantity in new.lines.items()},
            created_at=at,
            changed_at=at,
        )
    )


async def load(session: AsyncSession, order: str, number: int) -> Return | None:
    row = await session.get(RunRow, return_run(order, number))
    return Return.model_validate(row.state) if row else None


async def row(session: AsyncSession, order: str, number: int) -> OrderReturnRow | None:
    return await session.get(OrderReturnRow, (order, number), with_for_update=True)


async def complete_return(session: AsyncSession, was: Return, now: Return, at: datetime) -> Return:
    """Facts and books follow what came back."""
    await fulfilment_facts.by_return(session, was, now, at)
    return now


async def project_return(session: AsyncSession, now: Return, at: datetime) -> None:
    """The list of returns follows the return's new state."""
    this = (col(OrderReturnRow.order) == now.order, col(OrderReturnRow.number) == now.number)
    changes = {"status": now.status.value, "changed_at": at}
    await execute(session, update(OrderReturnRow).where(*this).values(**changes))
