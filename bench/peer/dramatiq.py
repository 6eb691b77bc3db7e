"""dramatiq with RabbitMQ.

docs, "Advanced": `confirm_delivery=True`; the environment's `dramatiq_queue_prefetch` for short tasks. Its queues are
durable and its messages persistent by themselves; it cannot declare quorum queues. A worker process for each core with
8 threads, as its command line starts by itself. At least once.
"""

import os
import sys
import threading

import dramatiq
import psycopg
from dramatiq.brokers.rabbitmq import RabbitmqBroker

from bench.peer.program import BODY, WRITE_WITH_PSYCOPG, broker, database, timed_by_hand

dramatiq.set_broker(RabbitmqBroker(url=broker(), confirm_delivery=True))
_mine = threading.local()


def _connection() -> "psycopg.Connection[tuple[object, ...]]":
    if not hasattr(_mine, "connection"):
        _mine.connection = psycopg.connect(database(), autocommit=True)
    connection: psycopg.Connection[tuple[object, ...]] = _mine.connection
    return connection


def _write(number: int, body: str) -> None:  # noqa: ARG001 - the body travels, as with the others
    _connection().execute(WRITE_WITH_PSYCOPG, [str(number)])


write = dramatiq.actor(actor_name="row", queue_name="dramatiq-rows")(_write)


def put(number: int) -> None:
    timed_by_hand(lambda: [write.send(n, BODY) for n in range(number)])


if __name__ == "__main__":
    if sys.argv[1] == "put":
        put(int(sys.argv[2]))
    else:
        os.environ["dramatiq_queue_prefetch"] = "100"  # noqa: SIM112 - its name
        os.execv(sys.executable, [sys.executable, "-m", "dramatiq", "bench.peer.dramatiq", "--skip-logging"])  # noqa: S606
