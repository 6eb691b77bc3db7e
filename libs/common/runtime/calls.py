"""What a handler may call at Shopify, seen from the runtime: it knows when, and not how."""

from collections.abc import Callable, Mapping
from typing import Any, Protocol

from libs.common.shopify.admin.answers import Answer
from libs.common.shopify.admin.client import TIMEOUT
from libs.common.shopify.admin.lanes import ApiLane


class AdminApi(Protocol):
    """`libs.common.shopify.admin.client.AdminClient`, or what stands in for it."""

    async def graphql(
        self,
        shop: str,
        query: str,
        variables: Mapping[str, Any] | None = None,
        *,
        lane: ApiLane = ApiLane.ORDERS,
        timeout: float = TIMEOUT,
        idempotency_key: str | None = None,
    ) -> Answer: ...


class ShopApi:
    """One shop's Admin API, in a handler's hand."""

    def __init__(self, admin: AdminApi, shop: str, check: Callable[[], None]) -> None:
        self._admin, self._shop, self._check = admin, shop, check

    async def graphql(
        self,
        query: str,
        variables: Mapping[str, Any] | None = None,
        *,
        lane: ApiLane = ApiLane.ORDERS,
        timeout: float = TIMEOUT,
        idempotency_key: str | None = None,
    ) -> Answer:
        """The shop's answer within `timeout` seconds; raises as `AdminClient.graphql` does.

        Raises `TransactionOpen` inside the handler's transaction. What this raises can be left to pass: it says itself
        whether the message comes again.
        """
        self._check()
        return await self._admin.graphql(
            self._shop, query, variables, lane=lane, timeout=timeout, idempotency_key=idempotency_key
        )
