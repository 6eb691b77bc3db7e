"""What `shopbus doctor` sees of real servers."""

import asyncio
from pathlib import Path

import asyncpg
import pytest
from pydantic import SecretStr

from libs.common.bus.link import BrokerOptions, Link
from libs.common.bus.topology import declare
from libs.common.contracts.topology import CONSUMERS
from libs.common.settings import CommonSettings
from services.cli.doctor_broker import check_broker
from services.cli.doctor_database import check_database
from services.cli.findings import Finding
from tests.environment import MakeSettings
from tests.servers.postgres import PostgresServer


def verdicts(findings: list[Finding]) -> list[str]:
    return [finding.verdict for finding in findings]


async def test_a_migrated_database_is_fine(settings: MakeSettings, database: str) -> None:
    findings = await check_database(settings(CommonSettings, database_url=SecretStr(database)))
    assert verdicts(findings) == ["ok", "ok", "ok"], findings


async def test_an_empty_database_misses_every_migration(settings: MakeSettings, empty_database: str) -> None:
    findings = await check_database(settings(CommonSettings, database_url=SecretStr(empty_database)))
    assert verdicts(findings) == ["ok", "wrong", "ok"]
    assert "webhooks/0001" in findings[1].words
    assert "worker/0001" in findings[1].words


async def test_a_migration_that_is_still_to_come_is_named(settings: MakeSettings, database: str) -> None:
    connection = await asyncpg.connect(database)
    await connection.execute("UPDATE webhooks.alembic_version SET version_num = '0001'")
    await connection.close()
    findings = await check_database(settings(CommonSettings, database_url=SecretStr(database)))
    assert "webhooks/0002" in findings[1].words
    assert "webhooks/0001" not in findings[1].words


async def test_a_database_that_is_away_is_said_without_its_password(
    settings: MakeSettings, postgres: PostgresServer, database: str
) -> None:
    await asyncio.to_thread(postgres.stop)
    [finding] = await check_database(settings(CommonSettings, database_url=SecretStr(database)))
    assert finding.verdict == "wrong"
    assert postgres.password not in finding.words


async def test_without_a_database_url_nothing_is_wrong(settings: MakeSettings, tmp_path: Path) -> None:
    findings = await check_database(settings(CommonSettings, state_dir=tmp_path))
    assert verdicts(findings) == ["note"]


async def test_a_broker_without_queues_is_a_note(settings: MakeSettings, broker_url: str) -> None:
    findings = await check_broker(settings(CommonSettings, rabbitmq_url=SecretStr(broker_url)))
    assert verdicts(findings) == ["ok", "note"], findings


async def test_a_broker_with_its_queues_is_fine(settings: MakeSettings, broker_url: str) -> None:
    configured = settings(CommonSettings, rabbitmq_url=SecretStr(broker_url))
    link = await Link.open(BrokerOptions.of(configured, "tests"), "declare")
    await declare(await link.channel(confirms=False), CONSUMERS)
    await link.close(1.0)
    assert verdicts(await check_broker(configured)) == ["ok", "ok"]


@pytest.mark.parametrize("url", ["amqp://user:hush-hush@127.0.0.1:1/", "http://user:hush-hush@127.0.0.1/"])
async def test_a_broker_that_cannot_be_reached_is_said_without_its_password(
    settings: MakeSettings, url: str
) -> None:
    [finding] = await check_broker(settings(CommonSettings, rabbitmq_url=SecretStr(url)))
    assert finding.verdict == "wrong"
    assert "hush-hush" not in finding.words
