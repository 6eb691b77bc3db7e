"""A Shopify that answers every call at once and never runs out of points, and an auth with a token for every shop."""

import asyncio
import os
from datetime import UTC, datetime, timedelta

import orjson
from aiohttp import web

from libs.common.service import start, until_signalled

_BUCKET = {"maximumAvailable": 1_000_000, "currentlyAvailable": 999_000, "restoreRate": 1_000_000}
_COST = {"cost": {"requestedQueryCost": 2, "actualQueryCost": 2, "throttleStatus": _BUCKET}}
_MONEY = {"amount": "12.50", "currencyCode": "EUR"}
_BAG = {"shopMoney": _MONEY, "presentmentMoney": _MONEY}
_MOMENT = "2026-11-28T08:00:00Z"


def _order(number: int) -> dict[str, object]:
    """As much as a list of orders asks for."""
    bags = ("totalPriceSet", "currentTotalPriceSet", "subtotalPriceSet", "totalTaxSet", "totalDiscountsSet")
    return {
        "id": f"gid://shopify/Order/{number}", "name": f"#{number}", "createdAt": _MOMENT, "processedAt": _MOMENT,
        "updatedAt": _MOMENT, "cancelledAt": None, "cancelReason": None, "closedAt": None, "test": False,
        "tags": ["bench"], "currencyCode": "EUR", "displayFinancialStatus": "PAID",
        "displayFulfillmentStatus": "UNFULFILLED", **dict.fromkeys((*bags, "totalRefundedSet"), _BAG),
        "customer": {"id": f"gid://shopify/Customer/{number}"},
    }  # fmt: skip


_ANSWER = orjson.dumps({"data": {"shop": {"name": "bench"}}, "extensions": _COST})
_PAGE = {
    "nodes": [_order(number) for number in range(1, 51)],
    "pageInfo": {"hasNextPage": False, "endCursor": None},
}
_ORDERS = orjson.dumps({"data": {"orders": _PAGE}, "extensions": _COST})
_HEADERS = {"Content-Type": "application/json", "X-Request-Id": "bench", "X-Shopify-API-Version": "2026-10"}


async def _answer(request: web.Request) -> web.Response:
    asked = await request.read()
    return web.Response(body=_ORDERS if b"query DataOrders" in asked else _ANSWER, headers=_HEADERS)


async def _token(_: web.Request) -> web.Response:
    expires_at = (datetime.now(UTC) + timedelta(hours=9)).isoformat()
    return web.json_response(
        {"access_token": "shpat_0", "scopes": "", "expires_at": expires_at, "version": 1, "generation": 1}
    )


async def _serve() -> None:
    app = web.Application()
    app.router.add_post("/stores/{shop}/admin/api/{version}/graphql.json", _answer)
    app.router.add_get("/internal/auth/shops/{shop}/token", _token)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", int(os.environ["PORT"])).start()
    try:
        await asyncio.Event().wait()
    finally:
        await runner.cleanup()


if __name__ == "__main__":
    start(until_signalled(_serve()))
