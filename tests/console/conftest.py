import asyncio
import os
import shutil
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
from playwright.async_api import Browser, BrowserContext, Page, async_playwright

from tests.conftest import Live

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
ARGUMENTS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--disable-background-networking",
             "--disable-component-update", "--disable-sync"]  # fmt: skip
SIZES = {"desktop": {"width": 1280, "height": 900}, "phone": {"width": 390, "height": 844}}
SHOTS = Path(os.environ["SHOTS"]) if "SHOTS" in os.environ else None
"""Where pictures of the pages are kept, if anywhere: SHOTS=folder make test"""


@pytest.fixture(scope="session")
async def browser() -> AsyncIterator[Browser]:
    if CHROMIUM is None:
        pytest.skip("Chromium is not installed here")
    async with async_playwright() as play:
        started = await play.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        yield started
        await started.close()


class Visitor:
    """Somebody signed in, looking at a page of one size."""

    def __init__(self, live: Live, context: BrowserContext, page: Page, size: str) -> None:
        self.live, self.context, self.page, self.size = live, context, page, size
        self.troubles: list[str] = []
        page.on("console", lambda m: self.troubles.append(m.text) if m.type == "error" else None)
        page.on("pageerror", lambda e: self.troubles.append(str(e)))

    async def go(self, path: str) -> None:
        await self.page.goto(self.live.stack.api_url + path)

    async def sign_in(self, who: str) -> None:
        await self.go("/sign-in")
        await self.page.fill("input[name=user]", who)
        await self.page.fill("input[name=password]", "dealwright-demo")
        await self.page.click("main button")
        await self.page.wait_for_url("**/*")

    @property
    def phone(self) -> bool:
        return self.size == "phone"

    async def until(self, path: str, holds: Callable[[Any], bool]) -> None:
        """Wait until what the API says holds."""
        for _ in range(300):
            if holds((await self.live.call("dina", "GET", path)).json()):
                return
            await asyncio.sleep(0.05)
        raise AssertionError(path)

    async def shot(self, name: str) -> None:
        if SHOTS:
            SHOTS.mkdir(parents=True, exist_ok=True)
            await self.page.screenshot(path=SHOTS / f"{name}-{self.size}.png", full_page=True)


@pytest.fixture(params=list(SIZES))
async def visitor(request: pytest.FixtureRequest, browser: Browser, live: Live) -> AsyncIterator[Visitor]:
    context = await browser.new_context(viewport=SIZES[request.param], has_touch=request.param == "phone")
    yield Visitor(live, context, await context.new_page(), request.param)
    await context.close()
