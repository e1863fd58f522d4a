"""Compares our orders with the ERP's, once a day by a schedule, and whenever somebody asks."""

from temporalio import workflow

with workflow.unsafe.imports_passed_through():
    from domain.runs.contracts import ERP_RECONCILIATION, RECONCILE, Reconciled
    from workflows.options import DELIVERY_STRETCH


@workflow.defn(name=ERP_RECONCILIATION)
class ErpReconciliation:
    @workflow.run
    async def run(self) -> Reconciled:
        found: Reconciled = await workflow.execute_activity(
            RECONCILE, result_type=Reconciled, summary="compare every order with the ERP's", **DELIVERY_STRETCH
        )
        workflow.set_current_details(f"{found.compared} orders compared, {found.drift} differences found.")
        return found
