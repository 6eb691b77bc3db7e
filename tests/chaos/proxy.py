"""A TCP proxy in front of one server, which can refuse, reset, hold back, slow down and break off connections."""

import asyncio
import socket
import struct
from collections.abc import Callable, Coroutine
from concurrent.futures import Future
from contextlib import suppress
from threading import Thread
from typing import Any, Literal, Self, TypeVar

from tests.servers.ports import free_port

Direction = Literal["to_server", "to_client"]
T = TypeVar("T")

_CHUNK = 64 * 1024
_TICK_SECONDS = 0.05  # a slow way passes bytes so often
_RESET = struct.pack("ii", 1, 0)  # SO_LINGER: closing sends RST and drops what was not sent
_ANSWER_SECONDS = 30.0


class _Way:
    """One direction of all connections: whether bytes pass, how fast, and how many until everything is cut."""

    def __init__(self, cut: Callable[[], None]) -> None:
        self.open = asyncio.Event()
        self.passed = 0
        self._cut = cut
        self._healed = asyncio.Event()
        self.heal()

    def heal(self) -> None:
        self.open.set()
        self._healed.set()
        self._healed = asyncio.Event()
        self.bytes_per_second: float | None = None
        self.delay = 0.0
        self.left: int | None = None

    async def pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Carries one connection's bytes, and at last its end."""
        while data := await reader.read(_CHUNK):
            await self._pause(self.delay)
            while data:
                await self.open.wait()
                data = await self._pass(data, writer)
        await self.open.wait()
        writer.write_eof()

    async def _pass(self, data: bytes, writer: asyncio.StreamWriter) -> bytes:
        """Sends on as much as may pass now; returns the rest."""
        size = await self._allowed(len(data))
        writer.write(data[:size])
        self._count(size)
        await writer.drain()
        return data[size:]

    async def _allowed(self, size: int) -> int:
        if self.bytes_per_second is not None:
            size = min(size, max(1, int(self.bytes_per_second * _TICK_SECONDS)))
            await self._pause(_TICK_SECONDS)
        return size if self.left is None else min(size, self.left)

    async def _pause(self, seconds: float) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._healed.wait()

    def _count(self, size: int) -> None:
        self.passed += size
        if self.left is not None:
            self.left -= size
            if self.left == 0:
                self.left = None
                self._cut()


class Proxy:
    """Stands between one process and one server. It lives in a thread of its own, so a busy test does not slow it.

    The modes may be combined; `heal` ends them all. What a blackhole or a one-way street held back is late, not
    lost, as with TCP: it arrives after `heal`, unless `cut` came first.
    """

    def __init__(self, target: int) -> None:
        self.port = free_port()
        self.cuts = 0  # how often all connections were reset
        self._target = target
        self._loop = asyncio.new_event_loop()
        self._thread = Thread(target=self._loop.run_forever, name=f"proxy of {target}", daemon=True)
        self._server: asyncio.Server | None = None
        self._connections: dict[asyncio.Task[None], list[asyncio.StreamWriter]] = {}
        self._ways: dict[Direction, _Way] = {"to_server": _Way(self._cut), "to_client": _Way(self._cut)}

    def __enter__(self) -> Self:
        self._thread.start()
        self._call(self._listen())
        return self

    def __exit__(self, *_: object) -> None:
        self._call(self._close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    @property
    def connections(self) -> int:
        """How many connections there are now."""
        return len(self._connections)

    def passed(self, direction: Direction) -> int:
        """How many bytes went that way since the start."""
        return self._ways[direction].passed

    def heal(self) -> None:
        """Ends every mode: bytes pass, and new connections are taken."""
        self._call(self._heal())

    def refuse(self) -> None:
        """New connections are refused; those that are there stay."""
        self._call(self._stop_listening())

    def cut(self) -> None:
        """Resets every connection; new ones are taken."""
        self._run(self._cut)

    def blackhole(self) -> None:
        """Connections are taken and stay open, and nothing passes either way."""
        self.hold("to_server", "to_client")

    def hold(self, *directions: Direction) -> None:
        """Nothing passes in these directions: one of them makes a one-way street."""

        def apply() -> None:
            for direction in directions:
                self._ways[direction].open.clear()

        self._run(apply)

    def slow(self, *, bytes_per_second: float | None = None, delay: float = 0.0) -> None:
        """Each connection passes so many bytes a second each way, or every piece of data comes later."""

        def apply() -> None:
            for way in self._ways.values():
                way.bytes_per_second, way.delay = bytes_per_second, delay

        self._run(apply)

    def cut_after(self, count: int, direction: Direction) -> None:
        """Resets every connection, once, as soon as so many further bytes (at least one) were sent that way."""

        def apply() -> None:
            self._ways[direction].left = count

        self._run(apply)

    # in the proxy's own thread

    async def _listen(self) -> None:
        self._server = await asyncio.start_server(self._accepted, "127.0.0.1", self.port, backlog=1024)

    async def _stop_listening(self) -> None:
        if self._server:
            self._server.close()
            self._server = None

    async def _heal(self) -> None:
        for way in self._ways.values():
            way.heal()
        if self._server is None:
            await self._listen()

    async def _close(self) -> None:
        await self._stop_listening()
        tasks = list(self._connections)
        self._cut()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _accepted(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writers = [writer]
        task = self._loop.create_task(self._carry(reader, writers))
        self._connections[task] = writers
        task.add_done_callback(self._ended)

    async def _carry(self, from_client: asyncio.StreamReader, writers: list[asyncio.StreamWriter]) -> None:
        """One connection's life; `writers` are what a cut resets: first the client's, then also the server's."""
        to_client = writers[0]
        await self._ways["to_server"].open.wait()  # a connection begins with a packet to the server
        with suppress(OSError):  # the server refuses, or one of the two resets: so does the proxy
            from_server, to_server = await asyncio.open_connection("127.0.0.1", self._target)
            writers.append(to_server)
            for writer in writers:
                writer.transport.set_write_buffer_limits(high=0)
            await _both(
                self._ways["to_server"].pump(from_client, to_server),
                self._ways["to_client"].pump(from_server, to_client),
            )
            for writer in writers:
                writer.close()
                await writer.wait_closed()

    def _ended(self, task: asyncio.Task[None]) -> None:
        for writer in self._connections.pop(task):
            _reset(writer)

    def _cut(self) -> None:
        self.cuts += 1
        for task, writers in self._connections.items():
            for writer in writers:
                _reset(writer)
            task.cancel()

    # from the thread of the test

    def _call(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(_ANSWER_SECONDS)

    def _run(self, work: Callable[[], object]) -> None:
        done: Future[None] = Future()

        def run() -> None:
            work()
            done.set_result(None)

        self._loop.call_soon_threadsafe(run)
        done.result(_ANSWER_SECONDS)


async def _both(*pumps: Coroutine[Any, Any, None]) -> None:
    """Returns when both directions have ended; one that breaks ends the other."""
    tasks = [asyncio.ensure_future(pump) for pump in pumps]
    try:
        await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def _reset(writer: asyncio.StreamWriter) -> None:
    if not writer.transport.is_closing():
        writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        writer.transport.abort()
