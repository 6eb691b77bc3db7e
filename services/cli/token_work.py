"""What the commands do that go through all tokens, beside services that are running."""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

import asyncpg
from rich.console import Console
from rich.progress import MofNCompleteColumn, Progress, TimeRemainingColumn

from libs.common import logs
from libs.common.clock import Clock, SystemClock
from libs.common.db import connection, database_away_named, open_pool
from libs.common.errors import ConfigurationError
from libs.common.outbox.open import open_producer
from libs.common.outbox.producer import Producer
from libs.common.settings import CommonSettings
from services.auth import sessions_store, upkeep
from services.auth.app import open_tokens
from services.auth.config import Settings
from services.auth.sessions import Sessions
from services.auth.tokens import Tokens
from services.auth.upkeep_store import Columns
from services.cli.config import local_sources
from services.cli.doctor_database import embedded_url
from services.cli.local import holder

T = TypeVar("T")
Step = Callable[[], None]


@dataclass(frozen=True, slots=True)
class Rotated:
    """What a rotation did, and how many sessions still lie under another key."""

    done: int
    failed: int
    left: int


@dataclass(frozen=True, slots=True)
class Tools:
    """Auth's parts, as the service itself has them."""

    settings: Settings
    pool: asyncpg.Pool
    producer: Producer
    tokens: Tokens
    clock: Clock

    @property
    def timeout(self) -> float:
        return self.settings.database_timeout_seconds

    async def under_other_keys(self) -> int:
        async with connection(self.pool, self.timeout) as conn:
            with database_away_named():
                return await sessions_store.under_other_keys(conn, self.tokens.vault.box.key_id)


def run(work: Callable[[Tools], Coroutine[Any, Any, T]]) -> T:
    """Runs a command's work, with nothing logged but warnings."""
    settings = _settings()
    logs.configure("WARNING", "console")
    return asyncio.run(_with_tools(settings, work))


async def rotate(tools: Tools) -> Rotated:
    """Seals everything with the first key."""
    with progress("sealing anew", await tools.under_other_keys()) as step:
        done = await upkeep.reseal(tools.pool, tools.tokens.vault, tools.timeout, step)
    return Rotated(done.done, done.failed, await tools.under_other_keys())


async def count_keys(tools: Tools) -> tuple[list[str], dict[str, int]]:
    """The ids of TOKEN_KEYS, and how many sessions each key has sealed."""
    sessions = Sessions(tools.pool, tools.tokens.turns, tools.clock, tools.timeout)
    counts: dict[str, int] = (await sessions.stats())["keys"]
    return list(tools.tokens.vault.box.key_ids), counts


async def shops_to_expire(tools: Tools) -> list[str]:
    """The shops whose token has no expiry."""
    return [shop async for shop in upkeep.shops_without_expiry(tools.pool, tools.timeout)]


async def expire(tools: Tools) -> tuple[int, dict[str, str]]:
    """Gives every token an expiry; returns how many were, and for which shops it failed with what."""
    shops, failed = await shops_to_expire(tools), {}
    with progress("exchanging", len(shops)) as step:
        for shop in shops:
            why = await upkeep.expire(tools.tokens, shop)
            if why is not None:
                failed[shop] = why
            step()
    return len(shops) - len(failed), failed


async def plain_tokens(tools: Tools, table: str, columns: Columns) -> int:
    """How many offline tokens there are in a table."""
    return len(await upkeep.plain_tokens(tools.pool, tools.timeout, table, columns))


async def adopt(tools: Tools, table: str, columns: Columns) -> tuple[int, int]:
    """Takes in the tokens of a table; returns how many, and how many shops were known already."""
    plain, taken = await upkeep.plain_tokens(tools.pool, tools.timeout, table, columns), 0
    with progress("sealing", len(plain)) as step:
        for one in plain:
            taken += await upkeep.adopt(tools.tokens, one, tools.clock)
            step()
    return taken, len(plain) - taken


@contextmanager
def progress(what: str, total: int) -> Iterator[Step]:
    """A bar on a terminal; anywhere else nothing but the result is written."""
    console = Console(stderr=True)
    if not console.is_terminal:
        yield lambda: None
        return
    columns = (*Progress.get_default_columns()[:2], MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True) as bar:
        line = bar.add_task(what, total=total)
        yield lambda: bar.advance(line)


async def _with_tools(settings: Settings, work: Callable[[Tools], Coroutine[Any, Any, T]]) -> T:
    async with opened(settings) as tools:
        return await work(tools)


@asynccontextmanager
async def opened(settings: Settings) -> AsyncIterator[Tools]:
    """The tools, until the block ends."""
    clock = SystemClock()
    async with (
        open_pool(settings, size=4, name="shopbus tokens") as pool,
        open_producer(settings, schema="auth", pool=pool, clock=clock) as producer,
        open_tokens(settings, pool, producer, clock) as tokens,
    ):
        yield Tools(settings, pool, producer, tokens, clock)


def _settings() -> Settings:
    """Auth's settings on this machine; the database is that of a running `shopbus run` where none is set."""
    common = CommonSettings.load(**local_sources(CommonSettings.load()))
    if common.database_url is not None:
        return Settings.load(**local_sources(common))
    url = embedded_url(common.state_dir) if holder(common.state_dir) else None
    if url is None:
        raise ConfigurationError("DATABASE_URL is not set, and no `shopbus run` is on in this folder")
    return Settings.load(**local_sources(common), database_url=url)
