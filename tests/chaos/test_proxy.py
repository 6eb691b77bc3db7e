import asyncio
import os
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, closing

import psycopg
import pytest

from tests.chaos.proxy import Direction, Proxy
from tests.servers.ports import free_port
from tests.servers.postgres import PostgresServer
from tests.waiting import poll

SILENCE_SECONDS = 0.3  # what was held back so long does not come by itself


class Echo:
    """A server that sends back what it gets, and remembers it."""

    def __init__(self) -> None:
        self.port = free_port()
        self.got = b""

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with closing(writer):
            try:
                while data := await reader.read(65536):
                    self.got += data
                    writer.write(data)
                    await writer.drain()
            except ConnectionResetError:
                return

    @asynccontextmanager
    async def running(self) -> AsyncIterator["Echo"]:
        async with await asyncio.start_server(self._serve, "127.0.0.1", self.port):
            yield self


@pytest.fixture
async def echo() -> AsyncIterator[Echo]:
    async with Echo().running() as server:
        yield server


@pytest.fixture
def proxy(echo: Echo) -> Iterator[Proxy]:
    with Proxy(echo.port) as standing_between:
        yield standing_between


class Client:
    """A connection to the proxy."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    async def says(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()

    async def hears(self, count: int) -> bytes:
        async with asyncio.timeout(20):
            return await self.reader.readexactly(count)

    async def hears_nothing(self) -> bool:
        try:
            async with asyncio.timeout(SILENCE_SECONDS):
                await self.reader.read(1)
        except TimeoutError:
            return True
        return False


@asynccontextmanager
async def client(proxy: Proxy) -> AsyncIterator[Client]:
    reader, writer = await asyncio.open_connection("127.0.0.1", proxy.port)
    try:
        yield Client(reader, writer)
    finally:
        writer.transport.abort()


async def works(proxy: Proxy) -> bool:
    async with client(proxy) as there:
        await there.says(b"hello")
        return await there.hears(5) == b"hello"


async def test_bytes_pass_unchanged_and_so_does_the_end_of_a_stream(proxy: Proxy) -> None:
    sent = os.urandom(1_000_000)
    async with client(proxy) as there:
        saying = asyncio.create_task(there.says(sent))
        assert await there.hears(len(sent)) == sent
        await saying
        there.writer.write_eof()
        assert await there.reader.read() == b""
    await poll(lambda: proxy.connections == 0)
    assert proxy.passed("to_server") == proxy.passed("to_client") == len(sent)


async def test_refused_connections_are_new_ones_only(proxy: Proxy) -> None:
    async with client(proxy) as before:
        await before.says(b"a")
        assert await before.hears(1) == b"a"
        proxy.refuse()
        with pytest.raises(ConnectionRefusedError):
            await asyncio.open_connection("127.0.0.1", proxy.port)
        await before.says(b"b")
        assert await before.hears(1) == b"b"
    proxy.heal()
    assert await works(proxy)


async def test_a_cut_resets_what_is_there_and_nothing_else(proxy: Proxy) -> None:
    async with client(proxy) as before:
        await before.says(b"a")
        assert await before.hears(1) == b"a"
        proxy.cut()
        with pytest.raises(ConnectionResetError):
            await before.hears(1)
    assert await works(proxy)


async def test_a_blackhole_takes_connections_and_answers_when_it_is_healed(proxy: Proxy, echo: Echo) -> None:
    async with client(proxy) as before:
        await before.says(b"a")
        assert await before.hears(1) == b"a"
        proxy.blackhole()
        async with client(proxy) as during:
            await before.says(b"b")
            await during.says(b"c")
            assert await before.hears_nothing()
            assert await during.hears_nothing()
            assert echo.got == b"a"
            proxy.heal()
            assert (await before.hears(1), await during.hears(1)) == (b"b", b"c")


async def test_what_a_blackhole_holds_is_lost_with_its_connection(proxy: Proxy, echo: Echo) -> None:
    proxy.blackhole()
    async with client(proxy) as during:
        await during.says(b"lost")
        assert await during.hears_nothing()
        proxy.cut()
        with pytest.raises(ConnectionResetError):
            await during.hears(1)
    proxy.heal()
    assert await works(proxy)
    assert echo.got == b"hello"


@pytest.mark.parametrize(("held", "arrived"), [("to_server", b"a"), ("to_client", b"ab")])
async def test_a_one_way_street_holds_one_direction(
    proxy: Proxy, echo: Echo, held: Direction, arrived: bytes
) -> None:
    async with client(proxy) as there:
        await there.says(b"a")
        assert await there.hears(1) == b"a"
        proxy.hold(held)
        await there.says(b"b")
        assert await there.hears_nothing()
        assert echo.got == arrived
        proxy.heal()
        assert await there.hears(1) == b"b"


async def test_a_slow_way_passes_a_little_at_a_time(proxy: Proxy) -> None:
    sent = os.urandom(1_000_000)
    async with client(proxy) as there:
        proxy.slow(bytes_per_second=1_000)
        saying = asyncio.create_task(there.says(sent))
        await poll(lambda: proxy.passed("to_server") > 100)
        assert proxy.passed("to_server") < len(sent)
        proxy.heal()
        assert await there.hears(len(sent)) == sent
        await saying


async def test_a_delayed_way_is_late_until_it_is_healed(proxy: Proxy) -> None:
    async with client(proxy) as there:
        proxy.slow(delay=600)
        await there.says(b"a")
        assert await there.hears_nothing()
        proxy.heal()
        assert await there.hears(1) == b"a"


async def test_a_cut_after_some_bytes_lets_exactly_these_through(proxy: Proxy, echo: Echo) -> None:
    async with client(proxy) as there:
        await there.says(b"a")
        assert await there.hears(1) == b"a"
        proxy.cut_after(3, "to_server")
        await there.says(b"bcdefg")
        await poll(lambda: proxy.cuts == 1)
        await poll(lambda: echo.got == b"abcd")
    assert await works(proxy)
    assert proxy.cuts == 1


def test_a_cut_before_the_answer_leaves_a_commit_that_the_client_does_not_know(
    postgres: PostgresServer, empty_database: str
) -> None:
    """Statements block the test's thread, so this shows as well that the proxy does not need it."""
    with psycopg.connect(empty_database, autocommit=True) as direct:
        direct.execute("CREATE TABLE kept (x int)")
        with Proxy(postgres.port) as proxy:
            behind = psycopg.connect(
                empty_database.replace(f":{postgres.port}/", f":{proxy.port}/"), autocommit=True
            )
            proxy.cut_after(1, "to_client")
            with pytest.raises(psycopg.OperationalError):
                behind.execute("INSERT INTO kept VALUES (1)")
        assert direct.execute("SELECT count(*) FROM kept").fetchone() == (1,)


async def test_a_server_that_is_away_shows_as_a_reset() -> None:
    with Proxy(free_port()) as proxy, pytest.raises((ConnectionResetError, asyncio.IncompleteReadError)):
        async with client(proxy) as there:  # which may be told while it still connects
            await there.hears(1)
