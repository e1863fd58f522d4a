"""A bad line between us and an ERP: requests are cut, doubled, delayed, or answered by somebody else."""

import asyncio
import random
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from itertools import cycle

FAULTS = ("cut before", "cut during", "cut after", "delay", "duplicate", "html 400", "500")
PAGE = b"<html><body>Unable to get RPC method</body></html>"


class Proxy:
    """Requests meet faults by a seeded chance, each kind in its turn; none while `rate` is 0."""

    def __init__(self, host: str, port: int, rate: float, seed: int) -> None:
        self._target = host, port
        self._chance = random.Random(seed)
        self._faults = cycle(FAULTS)
        self.rate = rate
        self.port = 0
        self.met: Counter[str] = Counter()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError, asyncio.IncompleteReadError):
            while request := await _message(reader):
                fault = next(self._faults) if self._chance.random() < self.rate else "none"
                self.met[fault] += 1
                answer = await self._through(request, fault)
                if answer is None:
                    break
                writer.write(answer)
                await writer.drain()
                if b"content-length:" not in answer[:2_000].lower():
                    break
        writer.close()

    async def _through(self, request: bytes, fault: str) -> bytes | None:
        """The answer; None when the line is cut."""
        match fault:
            case "cut before":
                return None
            case "cut during":
                _, writer = await asyncio.open_connection(*self._target)
                writer.write(request[: len(request) // 2])
                await writer.drain()
                writer.close()
                return None
            case "cut after":
                await self._ask(request)
                return None
            case "delay":
                await asyncio.sleep(self._chance.uniform(0.2, 1.0))
            case "duplicate":
                await self._ask(request)
            case "html 400":
                return _page(b"400 Bad Request")
            case "500":
                return _page(b"500 Internal Server Error")
        return await self._ask(request)

    async def _ask(self, request: bytes) -> bytes:
        reader, writer = await asyncio.open_connection(*self._target)
        try:
            writer.write(request)
            await writer.drain()
            return await _message(reader, until_closed=True)
        finally:
            writer.close()


def _page(status: bytes) -> bytes:
    return b"HTTP/1.1 %s\r\nContent-Type: text/html\r\nContent-Length: %d\r\n\r\n%s" % (status, len(PAGE), PAGE)


async def _message(reader: asyncio.StreamReader, until_closed: bool = False) -> bytes:
    """One request or answer; empty when there is none any more. An answer that names no length ends with the line."""
    try:
        head = await reader.readuntil(b"\r\n\r\n")
    except asyncio.IncompleteReadError:
        return b""
    lines = head.lower().split(b"\r\n")
    sizes = [int(line.split(b":")[1]) for line in lines if line.startswith(b"content-length:")]
    if sizes:
        return head + await reader.readexactly(sizes[0])
    return head + (await reader.read() if until_closed else b"")


@asynccontextmanager
async def bad_line(host: str, port: int, rate: float = 0.07, seed: int = 1) -> AsyncIterator[Proxy]:
    proxy = Proxy(host, port, rate, seed)
    server = await asyncio.start_server(proxy.serve, "127.0.0.1", 0, limit=2**24)
    proxy.port = server.sockets[0].getsockname()[1]
    async with server:
        yield proxy
