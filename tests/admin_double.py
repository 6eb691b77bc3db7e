"""Stands in for the client of the Admin API, where it matters what is asked and not how."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any

from libs.common.shopify.admin.answers import Answer
from libs.common.shopify.admin.client import TIMEOUT
from libs.common.shopify.admin.lanes import ApiLane


class AdminDouble(ABC):
    """An `AdminApi` that is told of each call, without how long it may take."""

    async def graphql(
        self,
        shop: str,
        query: str,
        variables: Mapping[str, Any] | None = None,
        *,
        lane: ApiLane = ApiLane.ORDERS,
        timeout: float = TIMEOUT,
        idempotency_key: str | None = None,
    ) -> Answer:
        return await self.answered(shop, query, variables, lane)

    @abstractmethod
    async def answered(
        self, shop: str, query: str, variables: Mapping[str, Any] | None, lane: ApiLane
    ) -> Answer: ...
