"""What somebody typed is never lost: not by a mistake in one field, and not by a session that ended."""

import html
import re
from collections.abc import Iterator
from urllib.parse import urlencode

import httpx
import pytest
from fastapi import FastAPI
from fastapi.routing import APIRoute
from sqlmodel import select

from console.errors import is_api
from console.refusals import LABELS
from domain.errors import Unavailable
from notify.chat import Chat
from notify.links import Claim
from services.letters.letter_delivery import LetterDelivery
from storage.letters import messages
from storage.tables import PersonRow
from tests.api.test_orders import accepted, approved, ordered
from tests.api.test_quotes import submitted
from tests.apiclient import Api
from tests.services.test_delivery import Box
from texts import LANGUAGES, catalog

on_sqlite = pytest.mark.parametrize("bench", ["sqlite"], indirect=True)
"""What pages keep is no matter of databases."""
HIDDEN = re.compile(r'<input type="hidden" name="([^"]*)" value="([^"]*)"')
INPUT = re.compile(r'<input name="([^"]*)" value="([^"]*)"')
TEXTAREA = re.compile(r'<textarea name="([^"]*)"[^>]*>\n(.*?)</textarea>', re.DOTALL)
Fields = list[tuple[str, str]]


async def visit(
    api: Api, who: str | None, method: str, path: str, fields: Fields | None = None, **headers: str
) -> httpx.Response:
    """A request of a browser."""
    sent = {"Origin": "http://test", **{name.replace("_", "-"): value for name, value in headers.items()}}
    if who:
        sent["Cookie"] = f"dealwright={await api.token(who)}"
    if fields is not None:
        sent["Content-Type"] = "application/x-www-form-urlencoded"
    api.client.cookies.clear()
    content = urlencode(fields) if fields is not None else None
    answer = await api.client.request(method, path, headers=sent, content=content)
    api.client.cookies.clear()
    return answer


def form_fields(page: str) -> Fields:
    """What the form on a page would send."""
    found = [*HIDDEN.findall(page), *INPUT.findall(page), *TEXTAREA.findall(page)]
    return [(html.unescape(name), html.unescape(value)) for name, value in found]


async def resumed(api: Api, who: str, path: str, fields: Fields) -> httpx.Response:
    """The form again, after its session had ended when it was sent and somebody signed in."""
    asked = await visit(api, None, "POST", path, fields, Referer=f"http://test{path.rpartition('/')[0]}")
    assert asked.status_code == 401
    credentials = [("user", who), ("password", "dealwright-demo")]
    return await visit(api, None, "POST", "/sign-in", [*form_fields(asked.text), *credentials])


RULE = [("name", "r"), ("tested", "net_total"), ("tested", "term_months"), ("value", "5"), ("value", "6"), ("key", "k")]
YAML = "kind: quote\nrules:\n" + "".join(f"- name: r{n}\n  ask: {{user: dora}}\n" for n in range(200))


@on_sqlite
@pytest.mark.parametrize(
    ("who", "path", "fields"),
    [
        ("adam", "/policy/quote/rules", RULE),
        ("adam", "/policy/quote/text", [("yaml", YAML), ("revision", "3")]),
        ("rita", "/quotes/Q-1/orders", [("way", "fields"), ("fields", "ship_to"), ("fields", "family")]),
        ("rita", "/quotes/Q-1/board", [(f"q{c}.{line}", "1") for c in range(20) for line in range(15)]),
        ("rita", "/quotes/Q-1/comments", [("text", "\n\nTwo blank lines above,\n  and <b>this</b>")]),
        ("dina", "/orders/Q-1-1/amend", [("line.1", "3"), ("note", ""), ("then", "do")]),
    ],
    ids=["repeated fields", "a long text", "a list", "many fields", "blank lines", "blank fields"],
)
async def test_a_form_is_resumed_with_every_field_in_its_order(api: Api, who: str, path: str, fields: Fields) -> None:
    page = (await resumed(api, who, path, fields)).text
    assert f'action="{path}"' in page
    assert sorted(form_fields(page)) == sorted(fields)
    for name in {name for name, _ in fields}:
        assert [f for f in form_fields(page) if f[0] == name] == [f for f in fields if f[0] == name]
    assert f'href="{path.rpartition("/")[0]}">' in page


@on_sqlite
async def test_what_a_page_asks_for_by_itself_leaves_it_as_it_is_when_the_session_ended(api: Api) -> None:
    for method, path in (("GET", "/quotes/Q-1/path?seen=a"), ("POST", "/quotes/Q-1/board/figures")):
        fields = [("columns", "1")] if method == "POST" else None
        answer = await visit(api, None, method, path, fields, HX_Request="true", HX_Target="figures")
        assert (answer.status_code, answer.text) == (204, "")


@on_sqlite
async def test_a_page_says_that_the_database_is_away_and_when_to_try_again(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    token = await api.token("rita")

    def away() -> None:
        raise Unavailable

    monkeypatch.setattr(api.bench.container.database, "reading", away)
    answer = await api.client.get("/quotes", headers={"Cookie": f"dealwright={token}"})
    assert (answer.status_code, answer.headers["content-type"]) == (503, "text/html; charset=utf-8")
    assert answer.headers["Retry-After"] == "1"


MISTAKES: list[tuple[str, str, Fields, str]] = [
    ("dina", "/orders/{}/amend", [("line.1", "1.0.0"), ("note", "By the gate"), ("reason", "They said so")], "1.0.0"),
    ("dina", "/orders/{}/amend", [("to.city", "c" * 5_000), ("note", "By the gate")], "By the gate"),
    ("dina", "/orders/{}/reschedule", [("on", "2026-99-01")], "2026-99-01"),
    ("dina", "/orders/{}/hold", [("reason", "Not paid"), ("owner", "nobody")], "Not paid"),
    ("dina", "/orders/{}/return", [("line.1", "x"), ("reason", "Broken")], "Broken"),
    ("bruno", "/orders/{}/delivery", [("line.1", "1,,0"), ("line.2", "3")], "1,,0"),
    ("dina", "/orders/{}/customer_accepts", [("on", "2026-99-99")], "2026-99-99"),
    ("rita", "/quotes/Q-1/orders", [("way", "even"), ("waves", "3,5"), ("first", "2026-04-01")], "3,5"),
    ("rita", "/quotes/Q-1/orders", [("way", "hand"), ("line.1", "1.5"), ("on", "2026-05-05")], "2026-05-05"),
    ("rita", "/quotes/Q-1/board", [("columns", "1"), ("then", "even"), ("waves", "7x"), ("every", "week")], "7x"),
    ("rita", "/quotes/Q-1/accept", [("on", "2026-31-01"), ("po_number", "PO 99"), ("document", "A")], "PO 99"),
    ("rita", "/quotes/Q-1/comments", [("text", "@nobody hello there")], "hello there"),
    ("rita", "/quotes/Q-1/comments", [("text", "x" * 5_000)], "x" * 5_000),
    ("freyja", "/periods/close", [("month", "2026-13")], "2026-13"),
    ("freyja", "/periods/close", [("month", "0000-01")], "0000-01"),
    ("dora", "/away", [("delegate", "leif"), ("first", "x"), ("note", "At sea")], "At sea"),
    ("dora", "/away", [("delegate", "leif"), ("first", "2026-01-01"), ("note", "n" * 300)], "n" * 300),
    ("adam", "/policy/quote", [("valid_for_days", "soon"), ("neutral", "contact")], "soon"),
    ("adam", "/policy/quote/text", [("yaml", "kind: quote\nrules: [")], "rules: ["),
]  # fmt: skip


@on_sqlite
@pytest.mark.parametrize(("who", "path", "fields", "typed"), MISTAKES, ids=[f"{m[1]}-{m[3][:12]}" for m in MISTAKES])
async def test_a_form_with_a_mistake_is_shown_again_with_what_was_typed(
    api: Api, who: str, path: str, fields: Fields, typed: str
) -> None:
    await accepted(api)
    (order,) = await ordered(api)
    answer = await visit(api, who, "POST", path.format(order), fields)
    assert (answer.status_code, answer.headers["content-type"]) == (422, "text/html; charset=utf-8")
    assert html.escape(typed) in answer.text
    assert 'method="post"' in answer.text.split("<main")[1]
    assert re.search(r'class="note bad"|aria-invalid="true"', answer.text)


NOTE = re.compile(r'class="note bad"[^>]*>([^<]*)<')


async def speak(api: Api, language: str) -> None:
    async with api.bench.container.database.writing() as session:
        for person in (await session.exec(select(PersonRow))).all():
            person.language = language


@on_sqlite
async def test_a_mistake_is_explained_in_the_readers_language(api: Api) -> None:
    await accepted(api)
    (order,) = await ordered(api)
    notes: dict[str, list[list[str]]] = {}
    for language in LANGUAGES:
        await speak(api, language)
        pages = [await visit(api, who, "POST", path.format(order), fields) for who, path, fields, _ in MISTAKES]
        notes[language] = [[note for note in NOTE.findall(page.text) if note] for page in pages]
    assert [m for m, n in zip(MISTAKES, notes["en"], strict=True) if not n] == []
    for language in notes.keys() - {"en"}:
        same = [said for english, said in zip(notes["en"], notes[language], strict=True) if set(english) & set(said)]
        assert same == []


@on_sqlite
async def test_who_is_not_signed_in_is_answered_in_the_language_of_their_browser(api: Api) -> None:
    credentials = [("user", "rita"), ("password", "wrong")]
    page = await visit(api, None, "POST", "/sign-in", credentials, Accept_Language="fr,pt-PT;q=0.8,en;q=0.5")
    assert page.status_code == 401
    assert "O usuário ou a senha não está certo." in page.text


def posts(app: FastAPI) -> Iterator[str]:
    for route in app.routes:
        if isinstance(route, APIRoute) and "POST" in route.methods and not is_api(route.path):
            yield re.sub(r"\{[^}]*\}", "1", route.path)


@on_sqlite
async def test_no_page_answers_with_json_or_breaks_whatever_it_is_sent(api: Api) -> None:
    await approved(api)
    names = {"version", "revision", "digest", "comment", "text", "month", "on", "verb", "columns", "yaml", *LABELS}
    for path in sorted(posts(api.app)):
        for value in ("x" * 70_000, "\r\n" * 3_000, "9" * 400, ""):
            answer = await visit(api, "root", "POST", path, [(name, value) for name in names])
            assert answer.status_code < 500, (path, value[:9])
            assert "json" not in answer.headers.get("content-type", ""), (path, value[:9])


@on_sqlite
@pytest.mark.parametrize("path", ["/quotes/Q-1/comments", "/nothing/here", "/customers/c1?as_of=2026-99-99", "/calendar?month=0000-00"])  # fmt: skip
async def test_an_address_without_a_page_says_so_with_the_navigation(api: Api, path: str) -> None:
    answer = await visit(api, "rita", "GET", path)
    assert 400 <= answer.status_code < 500
    assert answer.headers["content-type"].startswith("text/html")
    assert "<nav" in answer.text
    assert 'href="/"' in answer.text


@pytest.mark.parametrize("language", [name for name in LANGUAGES if name != "en"])
def test_every_label_is_translated(language: str) -> None:
    assert set(LABELS.values()) - set(catalog(language)) == set()


@on_sqlite
async def test_a_comment_as_long_as_the_page_allows_is_taken_although_browsers_count_line_ends_twice(api: Api) -> None:
    await submitted(api)
    text = "\r\n".join(["a" * 79] * 50)
    assert len(text.replace("\r", "")) <= 4_000 < len(text)
    assert (await visit(api, "rita", "POST", "/quotes/Q-1/comments", [("text", text)])).status_code == 303


@on_sqlite
async def test_a_comment_is_kept_while_somebody_shows_who_they_are_by_a_code(api: Api) -> None:
    item = await submitted(api)
    container = api.bench.container
    async with container.database.reading() as session:
        message = next(m for m in await messages.due(session, api.bench.clock(), 20) if m.person == "dora")
    claim = Claim(message=message.id, approval=item["approval"], person="dora", digest=item["digest"])
    path = "/decide/" + container.by_link._links.decide(claim).rpartition("/")[2]
    object.__setattr__(container.by_link, "requires_login", True)
    fields = [("verb", "reject"), ("comment", "Much too deep")]
    asked = await visit(api, None, "POST", path, fields)
    assert (asked.status_code, form_fields(asked.text)) == (401, [("comment", "Much too deep")])
    sent = await visit(api, None, "POST", f"{path}/code", form_fields(asked.text))
    async with container.database.reading() as session:
        (code,) = [m for m in await messages.due(session, api.bench.clock(), 50) if m.template == "code"]
    digits = container.by_link._links.code("dora", code.data["nonce"])
    assert ("comment", "Much too deep") in form_fields(sent.text)
    shown = await visit(api, None, "POST", f"{path}/verify", [("code", digits), ("comment", "Much too deep")])
    assert f'action="{path}"' in shown.text
    assert "Much too deep</textarea>" in shown.text


@on_sqlite
async def test_a_one_time_code_never_goes_to_the_chat_where_others_read_along(api: Api) -> None:
    item = await submitted(api)
    container = api.bench.container
    async with container.database.writing() as session:
        (await session.get_one(PersonRow, "dora")).chat_url = "json://127.0.0.1:9/x"
        message = next(m for m in await messages.due(session, api.bench.clock(), 20) if m.person == "dora")
    claim = Claim(message=message.id, approval=item["approval"], person="dora", digest=item["digest"])
    token = container.by_link._links.decide(claim).rpartition("/")[2]
    await visit(api, None, "POST", f"/decide/{token}/code", [])
    delivery = LetterDelivery(container.database, Box(), Chat(), api.bench.clock, container.by_link._links)
    await delivery.send_due()
    async with container.database.reading() as session:
        queued = await messages.list_page(session, None, "", 100)
    assert {m.template for m in queued if m.channel == "chat" and m.person == "dora"} == {"requested"}
    assert "code" in {m.template for m in queued if m.channel == "mail"}
