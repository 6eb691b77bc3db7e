"""Two shops with two customers each, whose traces stand in every table, and the services that erase them."""

from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import asyncpg
import orjson
from aiohttp import ClientSession

from libs.common.contracts.envelope import Draft
from libs.common.contracts.topology import CONSUMERS, SOURCES
from libs.common.db import open_pool
from libs.common.ids import IdFactory
from libs.common.outbox.names import bind
from libs.common.outbox.open import open_producer
from libs.common.outbox.producer import Producer
from libs.common.privacy.declarations import Holdings
from libs.common.runtime.handlers import Registry
from libs.common.service import Service
from libs.common.shopify.signatures import webhook_signature
from services.auth import app as auth
from services.auth.privacy_store import HOLDINGS as AUTH
from services.ingest import app as ingest
from services.ingest.config import Settings as IngestSettings
from services.ingest.privacy_store import HOLDINGS as INGEST
from services.webhooks import app as webhooks
from services.webhooks.config import Settings as WebhooksSettings
from services.webhooks.privacy_store import HOLDINGS as WEBHOOKS
from services.worker import app as worker
from services.worker.config import Settings as WorkerSettings
from services.worker.privacy_store import HOLDINGS as WORKER
from tests.integration.auth_kit import OPS, SERVICE_KEY, auth_settings
from tests.integration.privacy_ledger import fill_ledger, fill_shops_ledger
from tests.integration.shopify_stand_in import KEY, SECRET
from tests.serving import serving
from tests.waiting import poll

HOLDINGS: tuple[Holdings, ...] = (AUTH, INGEST, WEBHOOKS, WORKER)
_ids = IdFactory()

OF_CATALOGUE = """
SELECT n.nspname AS schema, c.relname AS name FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind IN ('r', 'p') AND NOT c.relispartition
  AND n.nspname !~ '^pg_' AND n.nspname NOT IN ('information_schema', 'public')
ORDER BY 1, 2
"""


@dataclass(frozen=True)
class Person:
    """One customer of one shop; nobody else has any of this."""

    shop: str
    customer_id: int
    order_id: int
    email: str
    phone: str
    name: str

    def words(self) -> list[str]:
        return [str(self.customer_id), str(self.order_id), self.email, self.phone, self.name]

    def order(self) -> dict[str, Any]:
        return {
            "id": self.order_id, "name": f"#{self.order_id}", "email": self.email, "currency": "EUR",
            "total_price": "9.50", "updated_at": datetime.now(UTC).isoformat(),
            "customer": {"id": self.customer_id, "email": self.email, "first_name": self.name},
            "shipping_address": {"name": self.name, "phone": self.phone},
        }  # fmt: skip

    def fulfillment(self) -> dict[str, Any]:
        """One that names the person by the order alone."""
        return {"id": self.order_id * 7, "order_id": self.order_id, "destination": {"name": self.name}}

    def profile(self) -> dict[str, Any]:
        return {"id": self.customer_id, "email": self.email, "phone": self.phone, "first_name": self.name}

    def request(self, orders: str = "orders_to_redact", **changes: Any) -> dict[str, Any]:
        """The body of a compliance webhook."""
        customer = {"id": self.customer_id, "email": self.email, "phone": self.phone}
        body = {"shop_id": 1, "shop_domain": self.shop, "customer": customer, orders: [self.order_id]}
        return {**body, **changes}


A, B = "first.myshopify.com", "second.myshopify.com"
ANNA = Person(A, 70064055069301, 29993800001, "anna.erased@example.com", "+4917612345671", "Annabella")
BEN = Person(A, 70064055069302, 29993800002, "ben.kept@example.com", "+4917612345672", "Benedikta")
CLEO = Person(B, 70064055069303, 29993800003, "cleo.kept@example.com", "+4917612345673", "Cleopatra")
DORA = Person(B, 70064055069304, 29993800004, "dora.kept@example.com", "+4917612345674", "Dorothea")
PEOPLE = (ANNA, BEN, CLEO, DORA)


@dataclass
class World:
    """The services, and what a merchant or an operator says to them."""

    pool: asyncpg.Pool
    shopify: Producer
    client: ClientSession

    async def accept(self, topic: str, body: dict[str, Any], shop: str, at: datetime | None = None) -> UUID:
        """A webhook that was triggered at that time is committed."""
        draft = Draft(f"webhook.{topic}", orjson.dumps(body), shop=shop, time=at)
        return (await self.shopify.accept(draft)).id

    async def deliver(self, topic: str, body: dict[str, Any], at: datetime, shop: str = A) -> UUID:
        """A webhook comes through the door."""
        content = orjson.dumps(body)
        headers = {
            "X-Shopify-Topic": topic, "X-Shopify-Hmac-Sha256": webhook_signature(SECRET, content),
            "X-Shopify-Shop-Domain": shop, "X-Shopify-Api-Version": "2026-10", "X-Shopify-Webhook-Id": str(uuid4()),
            "X-Shopify-Triggered-At": at.isoformat(), "Content-Type": "application/json",
        }  # fmt: skip
        async with self.client.post("/webhooks/shopify", data=content, headers=headers) as answer:
            assert answer.status == 200, await answer.text()
            return UUID((await answer.json())["id"])

    async def case(self, identifier: UUID, *, status: str = "done") -> dict[str, Any]:
        """The case that a request opened, once it has come to this status."""
        await poll(lambda: self._has(identifier, status), within=40)
        found: dict[str, Any] = await self.ops(f"/api/privacy/cases/{identifier}")
        return found

    async def redact(self, person: Person, **changes: Any) -> dict[str, Any]:
        """Asks for the erasure of a customer and waits for it."""
        return await self.case(await self.accept("customers.redact", person.request(**changes), person.shop))

    async def redact_shop(self, shop: str, *, status: str = "done") -> dict[str, Any]:
        body = {"shop_id": 1, "shop_domain": shop}
        return await self.case(await self.accept("shop.redact", body, shop), status=status)

    async def ops(self, path: str, answers: int = 200) -> Any:
        async with self.client.get(path, headers={"Authorization": f"Bearer {OPS}"}) as answer:
            assert answer.status == answers, await answer.text()
            return await answer.json(content_type=None)

    async def _has(self, identifier: UUID, status: str) -> bool:
        found = await self.pool.fetchval("SELECT status FROM worker.privacy_cases WHERE id = $1", identifier)
        return bool(found == status)


@asynccontextmanager
async def world(
    database: str,
    *,
    without: str = "",
    shopify_url: str = "http://127.0.0.1:9",
    handlers: Registry | None = None,
    **changes: object,
) -> AsyncIterator[World]:
    """All services, or all but one that is elsewhere."""
    common = {
        "database_url": database,
        "service_key": SERVICE_KEY,
        "ops_token": OPS,
        "shutdown_seconds": 2.0,
        **changes,
    }
    common |= {"shopify_api_secret": SECRET}
    opened: dict[str, Callable[[], Any]] = {
        "auth": lambda: auth.open_service(auth_settings(database, shopify_url, **changes)),
        "webhooks": lambda: webhooks.open_service(WebhooksSettings.load(**common), grace=0.6),
        "ingest": lambda: ingest.open_service(
            IngestSettings.load(**common, shopify_api_key=KEY, app_url="https://app.example.com"), grace=0.6
        ),
        "worker": lambda: worker.open_service(
            WorkerSettings.load(**common, shopify_api_key=KEY), registry=handlers
        ),
    }
    settings = WorkerSettings.load(**common, shopify_api_key=KEY)
    async with AsyncExitStack() as stack:
        pool = await stack.enter_async_context(asyncpg.create_pool(database, min_size=1, max_size=4))
        services: list[Service] = [
            await stack.enter_async_context(start()) for name, start in opened.items() if name != without
        ]
        own = await stack.enter_async_context(open_pool(settings))
        shopify = await stack.enter_async_context(open_producer(settings, schema="webhooks", pool=own))
        client = await stack.enter_async_context(serving(services, settings))
        yield World(pool, shopify, client)


# filling


async def fill(pool: asyncpg.Pool) -> None:
    """Traces of everybody in every table that is declared to hold such."""
    async with pool.acquire() as conn:
        for shop in (A, B):
            await _fill_shop(conn, shop)
        for person in PEOPLE:
            await _fill_messages(conn, person)
            await _fill_worker(conn, person)
            await fill_ledger(conn, person.shop, person.customer_id, person.order_id)
            await _fill_pixels(conn, person)


async def _fill_shop(conn: Any, shop: str) -> None:
    await fill_shops_ledger(conn, shop)
    now = datetime.now(UTC)
    long_ago = now - timedelta(days=9)
    await conn.execute(
        "INSERT INTO auth.shops VALUES ($1, 1, $2, $2, $3, 'read_orders', $2)",
        shop,
        long_ago,
        now - timedelta(days=2),
    )
    await conn.execute(
        "INSERT INTO auth.sessions (id, shop, generation, scopes, key_id, access_token, granted_at, renewed_at) "
        "VALUES ($1, $2, 1, '', 'k', 'sealed', $3, $3)",
        f"offline_{shop}", shop, long_ago,
    )  # fmt: skip
    await conn.execute(
        "INSERT INTO shopify.budgets (shop, available, maximum, rate) VALUES ($1, 1, 2, 1)", shop
    )
    await conn.execute(
        "INSERT INTO worker.backfills (id, shop, resource, since, status, created_at, due_at, ended_at) "
        "VALUES ($1, $2, 'orders', $3, 'completed', $3, $3, $3)",
        _ids.new(), shop, long_ago,
    )  # fmt: skip
    await conn.execute(
        "INSERT INTO auth.states VALUES ($1, $2, $3)", shop.encode()[:3], shop, now + timedelta(days=1)
    )
    await conn.execute(
        "INSERT INTO webhooks.rejected (at, reason, shop, detail) VALUES ($1, 'hmac', $2, 'from ' || $2)",
        long_ago,
        shop,
    )
    await conn.execute(
        "INSERT INTO webhooks.subscription_shops (shop, known_at, due_at) VALUES ($1, $2, now() + interval '1 day')",
        shop,
        long_ago,
    )
    await conn.execute(
        "INSERT INTO webhooks.subscription_states (shop, topic, state, checked_at) "
        "VALUES ($1, 'orders/create', 'missing', $2)",
        shop,
        long_ago,
    )
    await conn.execute(
        "INSERT INTO webhooks.subscription_history (shop, at, topic, action, detail) "
        "VALUES ($1, $2, 'orders/create', 'created', 'at our address')",
        shop,
        long_ago,
    )

    await conn.execute(
        "INSERT INTO ingest.extensions (shop, wanted, active, hosts) VALUES ($1, false, false, ARRAY[$1])",
        shop,
    )
    await conn.execute("INSERT INTO ingest.extension_keys (key, shop) VALUES ('sbp_' || $1, $1)", shop)
    await conn.execute(
        "INSERT INTO ingest.extension_versions VALUES ($1, '1.0.0', $2, $2, 1)", shop, long_ago
    )


async def _fill_messages(conn: Any, person: Person) -> None:
    for source in SOURCES:
        for consumer in CONSUMERS:
            for place in ("outbox", "scheduled", "failed", "history"):
                await put_in_place(conn, source, consumer, place, person)


async def put_in_place(
    conn: Any, source: str, consumer: str, place: str, person: Person, topic: str = "orders.updated"
) -> UUID:
    """A message about the person stands there, with an error about them where the place has one."""
    identifier = _ids.new()
    body = orjson.dumps({**person.order(), "note": f"{place} of {source} for {consumer}"})
    headers = {"x-shopify-topic": "orders/updated", "x-shopify-shop-domain": person.shop}
    await conn.execute(
        bind(
            "INSERT INTO SOURCE.messages (id, type, shop, key, time, subject, content_type, headers, body) "
            "VALUES ($1, $2, $3, $4, $5, $6, 'application/json', $7, $8)", source=source,
        ),
        identifier, f"webhook.{topic}", person.shop, str(identifier), datetime.now(UTC) - timedelta(days=3),
        f"gid://shopify/Customer/{person.customer_id}", orjson.dumps(headers).decode(), body,
    )  # fmt: skip
    log = orjson.dumps([{"error": f"cannot write to {person.email}", "started_at": "2026-11-20T10:00:00Z",
                         "finished_at": "2026-11-20T10:00:00Z", "route": "postgres"}]).decode()  # fmt: skip
    statement = bind(_PLACES[place], source=source, consumer=consumer)
    await conn.execute(statement, identifier, source if place != "outbox" else consumer, log, *(
        [person.shop] if place in {"failed", "history"} else []
    ))  # fmt: skip
    return identifier


# Somebody has the outbox rows in hand, and what is scheduled has time, so that nobody works on them meanwhile.
_PLACES = {
    "outbox": "INSERT INTO SOURCE.outbox (id, destination, log, lane, holder, leased_until) "
    "VALUES ($1, $2, $3, 'default', 'worker:elsewhere', now() + interval '1 day')",
    "scheduled": "INSERT INTO CONSUMER.scheduled (message_id, source, log, lane, due_at, reason) "
    "VALUES ($1, $2, $3, 'default', now() + interval '1 day', 'retry')",
    "failed": "INSERT INTO CONSUMER.failed (message_id, source, log, shop, type, lane, reason, error, attempts, "
    "created_at) "
    "VALUES ($1, $2, $3, $4, 'webhook.orders.updated', 'default', 'never', $3::jsonb ->> 0, 2, now())",
    "history": "INSERT INTO CONSUMER.history (message_id, source, log, shop, type, lane, outcome, attempts, route, "
    "created_at, started_at) VALUES ($1, $2, $3, $4, 'webhook.orders.updated', 'default', 'completed', 2, 'postgres', "
    "now(), now())",
}


async def _fill_worker(conn: Any, person: Person) -> None:
    await conn.execute(
        "INSERT INTO worker.orders (shop, order_id, name, updated_at, triggered_at) "
        "VALUES ($1, $2, $3, now() - interval '1 day', now() - interval '1 day')",
        person.shop, person.order_id, f"#{person.order_id}",
    )  # fmt: skip
    subject = {
        "customer_id": person.customer_id,
        "email": person.email,
        "phone": person.phone,
        "orders": [],
        "linked": [],
    }
    case = _ids.new()
    await conn.execute(
        "INSERT INTO worker.privacy_cases (id, kind, status, shop, shop_mark, subject_mark, subject, message_source, "
        "requested_at, opened_at, due_at, ready_at) VALUES ($1, 'data_request', 'ready', $2, $3, $4, $5, 'webhooks', "
        "now(), now(), now(), now())",
        case, person.shop, person.shop.encode()[::-1], person.email.encode()[::-1], orjson.dumps(subject).decode(),
    )  # fmt: skip
    await conn.execute(
        "INSERT INTO worker.privacy_items VALUES ($1, 'webhooks', 1, $2)",
        case,
        orjson.dumps([person.order()]),
    )


async def _fill_pixels(conn: Any, person: Person) -> None:
    seen = datetime.now(UTC) - timedelta(hours=1)
    content = orjson.dumps({"data": {"checkout": person.order()}}).decode()
    await conn.execute(
        "INSERT INTO worker.pixel_events (day, shop, event_id, name, kind, client_id, occurred_at, received_at, marks, "
        "content) VALUES ($1, $2, $3, 'checkout_completed', 'standard', $6, $4, $4, 0, $5)",
        seen.date(), person.shop, f"event of order {person.order_id}", seen, content,
        f"browser of {person.customer_id}",
    )  # fmt: skip
    await conn.execute(
        "INSERT INTO ingest.quarantine (at, shop, cause, detail, sample) VALUES ($1, $2, 'bad_shape', 'odd', $3)",
        seen, person.shop, content,
    )  # fmt: skip


# looking


async def dump(pool: asyncpg.Pool) -> dict[str, list[str]]:
    """Every row of every table as text, bytes included."""
    found: dict[str, list[str]] = {}
    async with pool.acquire() as conn:
        for table in await conn.fetch(OF_CATALOGUE):
            name = f"{table['schema']}.{table['name']}"
            rows = await conn.fetch(f"SELECT * FROM {name}")  # noqa: S608 - a name of the catalogue
            found[name] = sorted(_text(row) for row in rows)
    return found


def _text(row: asyncpg.Record) -> str:
    return " | ".join(
        f"{name}={value.decode('latin-1') if isinstance(value, bytes) else value}"
        for name, value in row.items()
    )


def holding(dumped: dict[str, list[str]], words: list[str]) -> dict[str, list[str]]:
    """The rows that hold one of these words, by table; tables without any are left out."""
    kept = {
        name: [row for row in rows if any(word.lower() in row.lower() for word in words)]
        for name, rows in dumped.items()
    }
    return {name: rows for name, rows in kept.items() if rows}


def declared_to_hold(attribute: str) -> set[str]:
    """The tables that are declared to hold people (`erase`) or shops (`erase_shop`), those of the protocol included."""
    own = {held.place(table) for held in HOLDINGS for table in held.personal if getattr(table, attribute)}
    places = {f"{name}.{table}" for name in CONSUMERS for table in ("scheduled", "failed", "history")}
    return own | places | {f"{name}.{table}" for name in SOURCES for table in ("messages", "outbox")}
