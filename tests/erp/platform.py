"""An integration platform on loopback: verifies what it is sent, keeps each message once, and misbehaves on request."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from standardwebhooks import Webhook as Signer


class Platform:
    """`moods` say how the next requests are answered, one after the other; well, when there are none left."""

    def __init__(self, secret: str) -> None:
        self._signer = Signer(secret)
        self.url = ""
        self.moods: list[str] = []
        self.taken: dict[str, dict[str, Any]] = {}
        self.requests = 0

    async def handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await self._answer(reader, writer)
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        headers = {k.lower(): v for k, _, v in (line.partition(": ") for line in head.split("\r\n")[1:])}
        body = await reader.readexactly(int(headers.get("content-length", "0")))
        self.requests += 1
        mood = self.moods.pop(0) if self.moods else "well"
        if mood == "cut before":
            return
        event = self._signer.verify(body, headers)
        assert event["id"] == headers["webhook-id"]
        if mood == "refuse":
            self._write(writer, 422, json.dumps({"reason": "Unknown product P-9"}))
        elif mood == "html 400":
            self._write(writer, 400, "<html>Bad request</html>", "text/html")
        elif mood == "500":
            self._write(writer, 500, "")
        else:
            self.taken.setdefault(event["id"], event)
            await self._took(mood, writer, f"SO-{len(self.taken)}")
        await writer.drain()

    async def _took(self, mood: str, writer: asyncio.StreamWriter, reference: str) -> None:
        """It has the message; whether the sender learns of it is another matter."""
        if mood == "late":
            await asyncio.sleep(3)
        elif mood == "cut after":
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{")
        elif mood == "html 200":
            self._write(writer, 200, "<html>It works!</html>", "text/html")
        elif mood == "wrong type":
            self._write(writer, 200, json.dumps({"reference": ["SO", 1]}))
        elif mood == "empty":
            self._write(writer, 204, "")
        elif mood == "later":
            self._write(writer, 202, "")
        else:
            self._write(writer, 201, json.dumps({"reference": reference}))

    @staticmethod
    def _write(writer: asyncio.StreamWriter, status: int, body: str, kind: str = "application/json") -> None:
        head = (
            f"HTTP/1.1 {status} x\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
        )
        writer.write(head.encode() + body.encode())


@asynccontextmanager
async def platform(secret: str) -> AsyncIterator[Platform]:
    made = Platform(secret)
    server = await asyncio.start_server(made.handle, "127.0.0.1", 0)
    made.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/events"
    async with server:
        yield made
