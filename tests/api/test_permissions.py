"""Every route with every role: the table in `domain/permissions.py` is what happens."""

import re
from typing import Any

import pytest
from fastapi.routing import APIRoute

from api.app import ROUTERS
from domain.people import Role
from domain.permissions import TABLE
from tests.apiclient import Api

OPEN = {("POST", "/v1/auth/token"), ("GET", "/v1/me"), ("POST", "/v1/erp/events")}
BODIES: dict[str, Any] = {
    "/v1/users/{id}": {"id": "x", "name": "X"},
    "/v1/groups/{id}": {"id": "x", "name": "X"},
    "/v1/policies/{kind}/draft": {"yaml": "kind: x\n"},
    "/v1/approvals/{id}/approve": {"digest": "0" * 64},
    "/v1/approvals/{id}/reject": {"digest": "0" * 64, "comment": "no"},
    "/v1/approvals/{id}/delegate": {"digest": "0" * 64, "to": "dora"},
    "/v1/approvals/{id}/reassign": {"to": "dora"},
    "/v1/quotes/{id}/accept": {"on": "2026-03-02"},
    "/v1/quotes/{id}/orders": {"way": "whole"},
    "/v1/quotes/{id}/orders/preview": {"way": "whole"},
    "/v1/orders/{id}/amend": {"note": "ring twice"},
    "/v1/orders/{id}/close-short": {"reason": "no longer made"},
    "/v1/orders/{id}/accept-excess": {"task": "t1"},
    "/v1/orders/{id}/dismiss": {"task": "t1"},
    "/v1/orders/{id}/backorder": {"lines": {"1": "1"}},
    "/v1/orders/{id}/picked": {"lines": {"1": "1"}},
    "/v1/orders/{id}/returns": {"id": "r", "lines": {"1": "1"}, "reason": "broken"},
    "/v1/orders/{id}/returns/{number}/decline": {"reason": "no"},
    "/v1/orders/{id}/hold": {"reason": "credit"},
    "/v1/orders/{id}/release": {"hold": "h1"},
    "/v1/orders/{id}/reschedule": {"start": "now"},
    "/v1/orders/{id}/shipments": {"id": "s", "lines": {"1": "1"}},
    "/v1/orders/{id}/deliveries": {"id": "d", "lines": {"1": "1"}},
    "/v1/erp/documents/{id}/refuse": {"reason": "no"},
    "/v1/approvals/{id}/consult": {"digest": "0" * 64, "to": "dora", "question": "fine?"},
    "/v1/approvals/{id}/advise": {"answer": "yes"},
    "/v1/approvals/{id}/add-approver": {"to": "dora"},
    "/v1/quotes/{id}/comments": {"text": "well?"},
    "/v1/approvals/decide": {"decisions": [{"approval": "x", "verb": "approve", "digest": "0"}]},
    "/v1/replacements": {"old": "x", "new": "y"},
    "/v1/replacements/preview": {"old": "x", "new": "y"},
    "/v1/users/{id}/chat": {"url": ""},
    "/v1/delegations": {"delegate": "dora", "first": "2026-03-02"},
    "/v1/quotes/{id}": {"customer": {"id": "c", "name": "C"}, "currency": "EUR", "owner": "somebody"},
}


def act_of(route: APIRoute) -> str | None:
    acts = [getattr(d.call, "act", None) for d in route.dependant.dependencies]
    return next((a for a in acts if a), None)


ROUTES = [r for area in ROUTERS for r in area.router.routes if isinstance(r, APIRoute) and r.path.startswith("/v1")]


def test_every_route_names_its_act() -> None:
    assert len(ROUTES) > 25
    for route in ROUTES:
        (method,) = route.methods
        assert ((method, route.path) in OPEN) == (act_of(route) is None), f"{method} {route.path}"
        assert act_of(route) is None or act_of(route) in TABLE


@pytest.mark.parametrize("role", [*Role, None])
async def test_every_route_with_every_role(api: Api, role: Role | None) -> None:
    who = f"only-{role}"
    await api.add(who, *([role] if role else []))
    checked = 0
    for route in ROUTES:
        act = act_of(route)
        if act is None:
            continue
        (method,) = route.methods
        path = re.sub(r"\{\w+\}", "x", route.path)
        answer = await api.call(who, method, path, json=BODIES.get(route.path) if method in ("PUT", "POST") else None)
        refused = answer.status_code == 403 and answer.json().get("act") == act
        allowed = role is not None and role in TABLE[act]
        assert refused is not allowed, f"{role} {method} {route.path}: {answer.status_code} {answer.text[:200]}"
        checked += 1
        anonymous = await api.client.request(
            method, path, json=BODIES.get(route.path) if method in ("PUT", "POST") else None
        )
        assert anonymous.status_code == 401
    assert checked > 20


async def test_somebody_without_a_role_sees_only_themselves(api: Api) -> None:
    await api.add("nobody")
    assert (await api.call("nobody", "GET", "/v1/me")).json()["id"] == "nobody"
