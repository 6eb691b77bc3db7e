"""Celery with RabbitMQ.

docs/userguide/optimizing: a prefetch of 64 to 128 for many short tasks, no results where nobody reads them.
docs/getting-started/backends-and-brokers/rabbitmq: quorum queues, publisher confirms, late acknowledgement. A worker
process for each core, as it starts by itself. At least once.
"""

import sys
from functools import lru_cache

import psycopg
from celery import Celery

from bench.peer.program import BODY, WRITE_WITH_PSYCOPG, broker, database, timed_by_hand

app = Celery("bench", broker=broker())
app.conf.update(
    task_ignore_result=True,
    task_acks_late=True,
    task_default_queue="celery-rows",
    task_default_queue_type="quorum",
    worker_prefetch_multiplier=128,
    broker_transport_options={"confirm_publish": True},
    broker_connection_retry_on_startup=True,
    worker_hijack_root_logger=False,
)


@lru_cache
def _connection() -> "psycopg.Connection[tuple[object, ...]]":
    return psycopg.connect(database(), autocommit=True)


def _write(number: int, body: str) -> None:  # noqa: ARG001 - the body travels, as with the others
    _connection().execute(WRITE_WITH_PSYCOPG, [str(number)])


write = app.task(_write, name="row")


def put(number: int) -> None:
    with app.producer_pool.acquire(block=True) as producer:
        timed_by_hand(lambda: [write.apply_async((n, BODY), producer=producer) for n in range(number)])


if __name__ == "__main__":
    if sys.argv[1] == "put":
        put(int(sys.argv[2]))
    else:
        app.worker_main(
            ["worker", "--pool=prefork", "--loglevel=ERROR", "--without-gossip", "--without-mingle"]
        )
