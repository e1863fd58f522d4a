"""`python -m bench [inbox|approvals|policies|replacement|orders|customers|erp]`: print the figures."""

import sys

import uvloop

from app import logs
from bench import approvals, customers, erp, inbox, orders, policies, replacement
from bench.report import Report

AREAS = {"inbox": inbox.run, "approvals": approvals.run, "policies": policies.run, "replacement": replacement.run,
         "orders": orders.run, "customers": customers.run, "erp": erp.run}  # fmt: skip


def main() -> None:
    logs.configure(json=False, level=50)
    wanted = sys.argv[1:] or list(AREAS)
    report = Report()
    for area in wanted:
        if area not in AREAS:
            sys.exit(f"{area!r} is not one of {', '.join(AREAS)}")
        uvloop.run(AREAS[area](report))
    report.close()


if __name__ == "__main__":
    main()
