"""The servers of a benchmark, and databases on them that are ready for shopbus."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field

import asyncpg

from bench.effects import TABLE
from bench.load import SECRET
from libs.common.migrate import migrate
from tests.servers.postgres import PostgresServer
from tests.servers.rabbitmq import RabbitNode

_TEMPLATE = "bench_template"

# Room enough that no checkpoint falls into one side's turn by chance; commits stay as durable as ever. Commit times
# are kept so that latencies end at the commit and not at the statement before it.
_OPTIONS = {"shared_buffers": "512MB", "max_wal_size": "4GB", "track_commit_timestamp": "on"}


@dataclass
class Stage:
    """One Postgres, and one RabbitMQ if asked for."""

    postgres: PostgresServer
    rabbit: RabbitNode | None = None
    _template_made: bool = field(default=False, init=False)

    async def database(self, name: str) -> str:
        """The URL of a new database with all tables of shopbus and that of the benchmarks' handlers."""
        if not self._template_made:
            self._template_made = True
            self.postgres.create_database(_TEMPLATE)
            migrate(self.postgres.url(_TEMPLATE))
            conn = await asyncpg.connect(self.postgres.url(_TEMPLATE))
            await conn.execute(TABLE)
            await conn.close()
        self.postgres.create_database(name, _TEMPLATE)
        return self.postgres.url(name)

    def broker(self) -> dict[str, str]:
        """The setting that lets a process use RabbitMQ, by a vhost that no other benchmark's process uses."""
        assert self.rabbit is not None  # noqa: S101 - the benchmark asked for it
        return {"RABBITMQ_URL": self.rabbit.vhost_url(self.rabbit.take_vhost())}


@contextmanager
def opened(*, rabbit: bool = False) -> Iterator[Stage]:
    """Starts the servers; what they hold goes with them."""
    with ExitStack() as stack:
        postgres = stack.enter_context(PostgresServer(_OPTIONS))
        yield Stage(postgres, stack.enter_context(RabbitNode()) if rabbit else None)


def environment(url: str, **more: str) -> dict[str, str]:
    """Settings for the services: nothing is held back by a shop's share, since a benchmark is one shop's flood."""
    return {
        "DATABASE_URL": url, "SHOPIFY_API_SECRET": SECRET, "OPS_TOKEN": "bench", "HANDLERS": "bench.handlers",
        "SERVICE_KEY": "bench" * 8, "SHOPIFY_API_KEY": "bench",
        "SHOP_SHARE_BURST": "1000000000", **more,
    }  # fmt: skip
