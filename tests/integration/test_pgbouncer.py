"""PgBouncer between the services and Postgres: by session all goes well, by transaction it is named."""

import asyncio
from collections.abc import Iterator

import pytest
from pydantic import SecretStr

from libs.common.contracts.envelope import Message
from libs.common.runtime.context import Context
from libs.common.runtime.handlers import on
from libs.common.settings import CommonSettings
from services.cli.doctor_database import check_database
from tests.environment import MakeSettings
from tests.integration.protocol import effect, registry, system
from tests.servers.pgbouncer import PgBouncer, pgbouncer_program
from tests.servers.postgres import PostgresServer
from tests.waiting import poll

IGNORED = (
    "ignore_startup_parameters = tcp_keepalives_idle,tcp_keepalives_interval,tcp_keepalives_count,tcp_user_timeout,"
    "synchronous_commit,idle_in_transaction_session_timeout,idle_session_timeout,extra_float_digits"
)
"""As docs/deployment.md says it."""


@pytest.fixture(scope="module")
def program() -> str:
    if (found := pgbouncer_program()) is None:
        pytest.skip("PgBouncer is not installed, and may not be")
    return found


@pytest.fixture
def by_session(program: str, postgres_server: PostgresServer) -> Iterator[PgBouncer]:
    with PgBouncer(program, postgres_server, "session", IGNORED) as pooler:
        yield pooler


def name_of(url: str) -> str:
    return url.rpartition("/")[2]


async def test_a_worker_behind_a_pooler_by_session_outlives_its_death(
    database: str, by_session: PgBouncer
) -> None:
    """It listens, has locks for `per_shop`, and prepares statements; all of that is gone with the pooler."""

    @on("webhook.limited", per_shop=2)
    async def limited(message: Message, ctx: Context) -> None:
        await asyncio.sleep(0.01)
        async with ctx.transaction() as tx:
            await effect(tx, message)

    async with system(by_session.url(name_of(database)), database_timeout_seconds=2.0) as behind:
        async with behind.working(registry(limited)):
            ids = [await behind.accept("webhook.limited", shop="a.myshopify.com") for _ in range(40)]
            await poll(lambda: behind.pool.fetchval("SELECT count(*) >= 5 FROM worker.history"))
            await asyncio.to_thread(by_session.kill)
            await asyncio.to_thread(by_session.start)
            await behind.answers()
            ids += [await behind.accept("webhook.limited", shop="a.myshopify.com") for _ in range(20)]
            await behind.finished()
        await behind.done_once(ids)


async def test_the_doctor_names_a_pooler_that_does_not_keep_sessions(
    program: str, postgres_server: PostgresServer, database: str, settings: MakeSettings
) -> None:
    """The failures of asyncpg #198 and #1058: statements prepared on another session are missing, or there twice."""
    with PgBouncer(program, postgres_server, "transaction", IGNORED) as pooler:
        url = SecretStr(pooler.url(name_of(database)))
        findings = await check_database(settings(CommonSettings, database_url=url))
    [wrong] = [finding for finding in findings if finding.verdict == "wrong"]
    assert "does not keep sessions" in wrong.words
    assert "pool_mode = session" in wrong.mend


async def test_the_doctor_names_what_a_pooler_has_to_ignore(
    program: str, postgres_server: PostgresServer, database: str, settings: MakeSettings
) -> None:
    with PgBouncer(program, postgres_server, "session") as pooler:
        url = SecretStr(pooler.url(name_of(database)))
        [finding] = await check_database(settings(CommonSettings, database_url=url))
    assert "refuses the setting tcp_keepalives_idle" in finding.words
    assert "ignore_startup_parameters" in finding.mend


async def test_the_doctor_is_content_with_a_pooler_by_session(
    by_session: PgBouncer, database: str, settings: MakeSettings
) -> None:
    url = SecretStr(by_session.url(name_of(database)))
    findings = await check_database(settings(CommonSettings, database_url=url))
    assert {finding.verdict for finding in findings} == {"ok"}, findings
