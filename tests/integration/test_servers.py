"""The servers of the tests do what the fault tests rely on, and nothing of them is left behind."""

import asyncio
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import aio_pika
import aiormq
import psutil
import psycopg
import pytest

from tests.servers.ports import accepts
from tests.servers.postgres import PostgresServer
from tests.servers.rabbitmq import RabbitNode
from tests.waiting import poll

REPOSITORY = Path(__file__).parents[2]

START_BOTH_AND_FREEZE_THEM = """
import sys
from tests.servers.postgres import PostgresServer
from tests.servers.rabbitmq import RabbitNode
with PostgresServer() as postgres, RabbitNode() as rabbit:
    postgres.freeze()
    rabbit.freeze()
    print("frozen", rabbit.port, flush=True)
    sys.stdin.read()
"""


def scalar(url: str, statement: str) -> object:
    with psycopg.connect(url, autocommit=True, connect_timeout=2) as connection:
        row = connection.execute(statement.encode()).fetchone()
        return row and row[0]


async def messages_in(url: str, queue: str) -> int:
    async with asyncio.timeout(5), await aio_pika.connect(url) as connection:
        channel = await connection.channel()
        declared = await channel.declare_queue(queue, durable=True, arguments={"x-queue-type": "quorum"})
        return declared.declaration_result.message_count or 0


async def publish(url: str, queue: str) -> None:
    async with asyncio.timeout(2), await aio_pika.connect(url) as connection:
        channel = await connection.channel()
        await channel.declare_queue(queue, durable=True, arguments={"x-queue-type": "quorum"})
        await channel.default_exchange.publish(aio_pika.Message(b"kept", delivery_mode=2), queue)


def test_a_killed_postgres_keeps_what_was_committed(postgres: PostgresServer, empty_database: str) -> None:
    with psycopg.connect(empty_database, autocommit=True) as connection:
        connection.execute("CREATE TABLE kept AS SELECT 1 AS x")
    postgres.kill()
    with pytest.raises(psycopg.OperationalError):
        scalar(empty_database, "SELECT 1")
    postgres.start()
    assert scalar(empty_database, "SELECT count(*) FROM kept") == 1


def test_a_frozen_postgres_accepts_and_says_nothing_until_it_is_thawed(
    postgres: PostgresServer, empty_database: str
) -> None:
    postgres.freeze()
    with pytest.raises(psycopg.errors.ConnectionTimeout):
        scalar(empty_database, "SELECT 1")
    postgres.thaw()
    assert scalar(empty_database, "SELECT 1") == 1


@pytest.mark.parametrize("mode", ["fast", "immediate"])
def test_postgres_comes_back_on_its_port(postgres: PostgresServer, empty_database: str, mode: str) -> None:
    started = "SELECT pg_postmaster_start_time()"
    before = scalar(empty_database, started)
    postgres.restart("fast" if mode == "fast" else "immediate")
    assert scalar(empty_database, started) != before


def test_postgres_flushes_to_the_disk_and_asks_for_a_password(postgres: PostgresServer) -> None:
    assert scalar(postgres.url(), "SHOW fsync") == "on"
    with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
        scalar(postgres.url().replace(postgres.password, "wrong"), "SELECT 1")


def test_a_database_fixture_is_a_migrated_copy(database: str) -> None:
    assert scalar(database, "SELECT count(*) FROM pg_tables WHERE schemaname = 'webhooks'")


async def test_a_killed_broker_keeps_confirmed_messages(rabbit: RabbitNode, broker_url: str) -> None:
    await publish(broker_url, "q")
    await asyncio.to_thread(rabbit.flush)
    rabbit.kill()
    with pytest.raises(OSError, match="Connect call failed"):
        await publish(broker_url, "q")
    await asyncio.to_thread(rabbit.start)
    assert await poll(lambda: messages_in(broker_url, "q")) == 1


async def test_a_wiped_broker_forgets_its_queues_and_vhosts(rabbit: RabbitNode, broker_url: str) -> None:
    await publish(broker_url, "q")
    rabbit.wipe()
    await asyncio.to_thread(rabbit.start)
    assert broker_url.rpartition("/")[2] not in rabbit.vhosts()
    assert await messages_in(rabbit.url, "q") == 0


async def test_a_frozen_broker_accepts_and_says_nothing_until_it_is_thawed(
    rabbit: RabbitNode, broker_url: str
) -> None:
    rabbit.freeze()
    with pytest.raises(TimeoutError):
        await publish(broker_url, "q")
    rabbit.thaw()
    await publish(broker_url, "q")


@pytest.mark.parametrize("alarm", ["raise_memory_alarm", "raise_disk_alarm"])
async def test_an_alarm_blocks_publishers_until_it_is_cleared(
    rabbit: RabbitNode, broker_url: str, alarm: str
) -> None:
    await asyncio.to_thread(getattr(rabbit, alarm))
    with pytest.raises(TimeoutError):
        await publish(broker_url, "q")
    await asyncio.to_thread(rabbit.clear_alarms)
    await publish(broker_url, "q")


async def test_a_queue_can_be_taken_away(rabbit: RabbitNode, broker_url: str) -> None:
    await publish(broker_url, "q")
    vhost = broker_url.rpartition("/")[2]
    await asyncio.to_thread(rabbit.delete_queue, "q", vhost)
    assert "q" not in rabbit.queues(vhost)


async def test_all_queues_can_be_taken_away(rabbit: RabbitNode, broker_url: str) -> None:
    await publish(broker_url, "q")
    await publish(broker_url, "r")
    vhost = broker_url.rpartition("/")[2]
    await asyncio.to_thread(rabbit.delete_queues, vhost)
    assert rabbit.queues(vhost) == set()


@pytest.mark.parametrize(
    ("how", "error"),
    [
        ("forbid", aiormq.exceptions.ChannelAccessRefused),
        ("shut_out", aiormq.exceptions.AMQPError),
    ],
)
async def test_a_user_without_permission_is_refused_until_it_is_given_back(
    rabbit: RabbitNode, broker_url: str, how: str, error: type[Exception]
) -> None:
    vhost = broker_url.rpartition("/")[2]
    await asyncio.to_thread(getattr(rabbit, how), vhost)
    with pytest.raises(error):
        await publish(broker_url, "q")
    await asyncio.to_thread(rabbit.heal)
    await publish(broker_url, "q")


async def test_all_connections_can_be_closed(rabbit: RabbitNode, broker_url: str) -> None:
    async with await aio_pika.connect(broker_url):
        assert await asyncio.to_thread(rabbit.connections)
        await asyncio.to_thread(rabbit.close_connections)
        await poll(lambda: not rabbit.connections())
    await publish(broker_url, "q")


async def test_a_vhost_can_be_made_again_after_a_wipe(rabbit: RabbitNode, broker_url: str) -> None:
    rabbit.wipe()
    await asyncio.to_thread(rabbit.start)
    await asyncio.to_thread(rabbit.make_vhost, broker_url.rpartition("/")[2])
    await publish(broker_url, "q")


async def test_two_nodes_stand_side_by_side(rabbit: RabbitNode) -> None:
    other = await asyncio.to_thread(RabbitNode)
    with other:
        await publish(other.url, "q")
        rabbit.kill()
        assert await messages_in(other.url, "q") == 1


def test_servers_listen_on_the_loopback_only(postgres: PostgresServer, rabbit: RabbitNode) -> None:
    listening = {
        connection.laddr.ip
        for process in psutil.Process().children(recursive=True)
        for connection in process.net_connections("tcp")
        if connection.status == psutil.CONN_LISTEN
    }
    assert "127.0.0.1" in listening
    assert listening <= {"127.0.0.1", "::1"}


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder for everybody, as /tmp is: as root, Postgres runs as somebody whom pytest's own folders keep out."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o1777)
        yield Path(folder)


async def test_servers_end_with_the_process_that_started_them(open_folder: Path) -> None:
    starter, broker_port = start_both_and_freeze_them(open_folder)
    servers = psutil.Process(starter.pid).children(recursive=True)
    assert "postgres" in {process.name() for process in servers}
    assert accepts(broker_port)
    starter.kill()
    starter.communicate()
    await poll(lambda: not any(alive(process) for process in servers), within=30)
    await poll(lambda: not accepts(broker_port), within=30)
    await poll(lambda: not list(open_folder.iterdir()), within=30)


def start_both_and_freeze_them(folder: Path) -> tuple[subprocess.Popen[bytes], int]:
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY), "TMPDIR": str(folder)}
    starter = subprocess.Popen(
        [sys.executable, "-c", START_BOTH_AND_FREEZE_THEM],
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert starter.stdout
    frozen, port = starter.stdout.readline().split()
    assert frozen == b"frozen"
    return starter, int(port)


def alive(process: psutil.Process) -> bool:
    try:
        return process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
