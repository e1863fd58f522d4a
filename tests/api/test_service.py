"""Signing in, limits, problems, health."""

import asyncio
from datetime import timedelta

import pytest

from api.limits import MAX_BODY
from services.imports.samples import SYSTEM
from storage.erp.documents import note_trouble
from storage.runs.heartbeats import write_heartbeat
from tests.apiclient import Api
from tests.support import a_line, a_quote


async def test_signing_in(api: Api) -> None:
    right = await api.client.post("/v1/auth/token", json={"user": "rita", "password": "dealwright-demo"})
    token = right.json()["access_token"]
    api.bench.clock.forward(minutes=5)
    me = await api.client.get("/v1/me", headers={"Authorization": f"Bearer {token}"})
    assert me.json()["id"] == "rita"
    answers = [
        await api.client.post("/v1/auth/token", json={"user": user, "password": password})
        for user, password in (("rita", "wrong"), ("ghost", "dealwright-demo"), ("system", ""))
    ]
    assert {(a.status_code, a.json()["detail"]) for a in answers} == {(401, "The user or the password is not right.")}


async def test_a_token_ends_with_its_time_a_new_password_and_its_person(api: Api) -> None:
    token = await api.token("rita")
    header = {"Authorization": f"Bearer {token}"}
    api.bench.clock.forward(hours=1)
    assert (await api.client.get("/v1/me", headers=header)).status_code == 200
    await api.bench.container.access.set_password(SYSTEM, "rita", "another password")
    assert (await api.client.get("/v1/me", headers=header)).status_code == 401
    fresh = {"Authorization": f"Bearer {await api.token('rita')}"}
    assert (await api.client.get("/v1/me", headers=fresh)).status_code == 200
    rita = await api.bench.container.people.get(SYSTEM.person, "rita")
    await api.bench.container.people.put(SYSTEM, rita.model_copy(update={"active": False}), rita.version)
    assert (await api.client.get("/v1/me", headers=fresh)).status_code == 401
    snorri = {"Authorization": f"Bearer {await api.token('snorri')}"}
    api.bench.clock.at += timedelta(hours=9)
    assert (await api.client.get("/v1/me", headers=snorri)).status_code == 401


@pytest.mark.parametrize("credential", ["", "x", "a.b.c", "dw_x_y", "dw_", "eyJhbGciOiJub25lIn0.eyJzdWIiOiJyb290In0."])
async def test_a_bad_credential_is_401(api: Api, credential: str) -> None:
    answer = await api.client.get("/v1/me", headers={"Authorization": f"Bearer {credential}"})
    assert answer.status_code == 401
    assert answer.headers["content-type"] == "application/problem+json"


async def test_an_api_key_works_until_it_is_revoked(api: Api) -> None:
    key = await api.bench.container.access.new_key(SYSTEM, "rita", "laptop")
    header = {"Authorization": f"Bearer {key}"}
    assert (await api.client.get("/v1/me", headers=header)).json()["id"] == "rita"
    assert (await api.client.get("/v1/me", headers={"Authorization": f"Bearer {key}x"})).status_code == 401
    await api.bench.container.access.revoke_key(SYSTEM, key.split("_")[1])
    assert (await api.client.get("/v1/me", headers=header)).status_code == 401


async def test_a_body_over_the_limit_is_refused_announced_or_not(api: Api) -> None:
    big = b"x" * (MAX_BODY + 1)
    header = {"Authorization": f"Bearer {await api.token('rita')}", "Content-Type": "application/json"}
    announced = await api.client.put("/v1/quotes/Q-1", content=big, headers=header)
    assert announced.status_code == 413

    async def pieces():  # type: ignore[no-untyped-def]
        for _ in range(5):
            yield b"x" * (MAX_BODY // 4)

    streamed = await api.client.put("/v1/quotes/Q-1", content=pieces(), headers=header)
    assert streamed.status_code == 413


async def test_a_quote_of_a_hundred_thousand_lines_is_refused_naming_lines(api: Api) -> None:
    body = a_quote().model_dump(mode="json")
    body["lines"] = [{"id": str(n), "product": "p", "quantity": 1, "list_price": 1} for n in range(50_000)]
    answer = await api.call("rita", "PUT", "/v1/quotes/Q-1", json=body)
    assert (answer.status_code, answer.json()["errors"][0]["field"]) == (422, "lines")


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"lines": [a_line(quantity="-2")]}, "lines.0.quantity"),
        ({"lines": [a_line(list_price="1e400")]}, "lines.0.list_price"),
        ({"lines": [{**a_line(), "net_total": "1"}]}, "lines[0].net_total"),
        ({"currency": "XQQ"}, "currency"),
        ({"id": "Q-2"}, "id"),
        ({"customer": None}, "customer"),
    ],
)
async def test_bad_input_names_its_field_and_stores_nothing(api: Api, changes: dict[str, object], field: str) -> None:
    body = {**a_quote().model_dump(mode="json"), **changes}
    answer = await api.call("rita", "PUT", "/v1/quotes/Q-1", json=body)
    assert (answer.status_code, answer.json()["errors"][0]["field"]) == (422, field)
    assert (await api.call("rita", "GET", "/v1/quotes/Q-1")).status_code == 404


async def test_health_needs_nothing_and_readiness_names_what_is_missing(api: Api) -> None:
    assert (await api.client.get("/healthz")).json() == {"status": "ok"}
    ready = await api.client.get("/readyz")
    assert (ready.status_code, ready.json()) == (
        503,
        {"ready": False, "database": True, "sweep": False, "engine": False, "worker_approvals": False,
         "worker_orders": False, "worker_notify": False},
    )  # fmt: skip


async def test_probes_that_come_together_are_told_the_same(api: Api) -> None:
    answers = await asyncio.gather(*(api.client.get("/readyz") for _ in range(3)))
    assert [answer.json()["database"] for answer in answers] == [True] * 3


async def test_a_queue_is_ready_while_a_worker_writes_that_it_lives(api: Api) -> None:
    database, clock = api.bench.container.database, api.bench.clock
    async with database.writing() as session:
        await write_heartbeat(session, ["approvals", "orders"], "one:1", clock())
        await write_heartbeat(session, ["orders"], "two:2", clock())
    clock.forward(seconds=9)
    async with database.writing() as session:
        await write_heartbeat(session, ["orders"], "two:2", clock())
    clock.forward(seconds=2)
    parts = (await api.client.get("/readyz")).json()
    assert [parts[f"worker_{queue}"] for queue in ("approvals", "orders", "notify")] == [False, True, False]


async def test_readiness_says_why_the_erp_does_not_answer(api: Api) -> None:
    container = api.bench.container
    for error in ("Tryton does not let dealwright in", ""):
        async with container.database.writing() as session:
            await note_trouble(session, container.settings.erp, error, api.bench.clock())
        assert (await api.client.get("/readyz")).json().get("erp", "") == error


async def test_metrics_count_requests_by_route(api: Api) -> None:
    await api.call("rita", "GET", "/v1/quotes/Q-secret")
    text = (await api.client.get("/metrics")).text
    assert 'route="/v1/quotes/{id}"' in text
    assert "Q-secret" not in text


async def test_an_unknown_address_is_a_problem_for_programs_and_a_page_for_people(api: Api) -> None:
    assert (await api.client.get("/v1/nothing")).headers["content-type"] == "application/problem+json"
    assert (await api.client.get("/nothing")).headers["content-type"].startswith("text/html")


async def test_too_many_requests_are_told_to_wait(api: Api) -> None:
    from api.app import create
    from tests.conftest import some_settings

    tight = some_settings(api.bench.container.settings.database_url).model_copy(update={"sign_ins_per_minute": 3})
    from dataclasses import replace

    import httpx

    app = create(replace(api.bench.container, settings=tight))
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://test") as client:
        codes = [
            (await client.post("/v1/auth/token", json={"user": "x", "password": "y"})).status_code for _ in range(5)
        ]
    # The window slides: as a minute of the clock begins, the one before still counts, but not quite whole.
    assert codes[:3] == [401] * 3
    assert codes[-1] == 429
