"""A keeper of subscriptions with the sandbox's Admin API before it and a real Postgres behind it."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import asyncpg
from pydantic import SecretStr

from libs.common.contracts.subscriptions import Wanted
from libs.common.db import connection, open_pool
from libs.common.settings import CommonSettings
from libs.common.shopify.admin.answers import Answer, read_answer
from libs.common.shopify.admin.lanes import ApiLane
from libs.common.token_client import NotInstalled
from services.sandbox.sender import Patience
from services.webhooks import subscriptions_store
from services.webhooks.subscriptions import Keeper
from tests.admin_double import AdminDouble
from tests.integration.receiver import Behaviour
from tests.integration.sandbox_kit import Sandbox, sandbox
from tests.session_tokens import SHOP

WANTED = (
    Wanted("app/uninstalled", in_toml=True),
    Wanted("orders/create", "read_orders"),
    Wanted("orders/delete", "read_orders", include_fields=("id", "updated_at")),
    Wanted("products/update", "read_products"),
)
TOPICS = ["ORDERS_CREATE", "ORDERS_DELETE", "PRODUCTS_UPDATE"]
SCOPES = "read_orders,read_products"


def _operation(query: str) -> str:
    return query.partition("(")[0].split()[-1]


@dataclass
class Caller(AdminDouble):
    """Calls the sandbox's Admin API with a token, and reads its answers as the real client does."""

    stores: Sandbox
    token: str
    fails: list[BaseException | None] = field(
        default_factory=list
    )  # raised after the call with this number is done
    asked: list[str] = field(default_factory=list)

    async def answered(
        self, shop: str, query: str, variables: Mapping[str, Any] | None, lane: ApiLane
    ) -> Answer:
        self.asked.append(_operation(query))
        if shop != SHOP:
            raise NotInstalled  # what auth says of a shop that it does not know
        async with self.stores.ask_api(self.token, query, shop=shop, **(variables or {})) as answer:
            found = read_answer(
                answer.status, answer.headers, await answer.read(), asked_at=datetime.now(UTC)
            )
        error = self.fails.pop(0) if self.fails else None
        if error is not None:
            raise error
        return found

    @property
    def changes(self) -> list[str]:
        return [name for name in self.asked if name != "WebhookSubscriptions"]


@dataclass
class Kept:
    """A shop of the sandbox, and who keeps its subscriptions."""

    stores: Sandbox
    caller: Caller
    keeper: Keeper
    pool: asyncpg.Pool

    def another(self, **changes: Any) -> Keeper:
        """A keeper as another process has it."""
        given: dict[str, Any] = {
            "pool": self.pool, "admin": self.caller, "uri": self.keeper.uri, "timeout": 3.0, "every": 10_800.0,
            "days": 14, "wanted": WANTED, **changes,
        }  # fmt: skip
        return Keeper(**given)

    async def install(self, generation: int = 1) -> None:
        async with connection(self.pool, 3.0) as conn:
            await subscriptions_store.installed(conn, SHOP, generation)

    async def actual(self) -> dict[str, dict[str, Any]]:
        """The sandbox's subscriptions by topic; two of one topic fail."""
        read = "{ webhookSubscriptions(first: 50) { nodes { id topic uri includeFields } } }"
        nodes = (await self.stores.graphql(self.caller.token, read))["data"]["webhookSubscriptions"]["nodes"]
        found = {node["topic"]: node for node in nodes}
        assert len(found) == len(nodes)
        return found

    async def states(self) -> dict[str, tuple[str, str | None]]:
        rows = await self.pool.fetch("SELECT topic, state, problem FROM webhooks.subscription_states")
        return {row["topic"]: (row["state"], row["problem"]) for row in rows}

    async def history(self) -> list[tuple[str, str]]:
        rows = await self.pool.fetch("SELECT topic, action FROM webhooks.subscription_history ORDER BY id")
        return [(row["topic"], row["action"]) for row in rows]

    async def due_now(self) -> None:
        await self.pool.execute("UPDATE webhooks.subscription_shops SET due_at = now(), leased_until = NULL")


@asynccontextmanager
async def keeping(
    database: str,
    folder: Path,
    *,
    scopes: str = SCOPES,
    patience: Patience | None = None,
    behave: Behaviour | None = None,
) -> AsyncIterator[Kept]:
    """The app is installed at the sandbox, and nobody has looked at its subscriptions yet."""
    behaving: dict[str, Any] = {"behave": behave} if behave else {}
    async with (
        sandbox(folder, patience=patience, **behaving) as stores,
        open_pool(CommonSettings(database_url=SecretStr(database))) as pool,
    ):
        caller = Caller(stores, (await stores.installed(scopes)).access_token)
        uri = f"{stores.settings.public_url}/webhooks/shopify"
        kept = Kept(stores, caller, Keeper(pool, caller, uri, 3.0, 10_800.0, 14, WANTED), pool)
        await kept.install()
        yield kept
