"""Bulk operations of Shopify's (SHOPIFY 6.8), as a backfill uses them. All calls go last in the shop's budget."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from libs.common.errors import ShopbusError
from libs.common.runtime.calls import AdminApi
from libs.common.shopify.admin.answers import Answer
from libs.common.shopify.admin.errors import Unavailable, UserErrors
from libs.common.shopify.admin.lanes import ApiLane

# Not partialDataUrl: docs/backfill.md tells why what a failed operation leaves is not read.
_FIELDS = "id status errorCode url objectCount createdAt query"
START = f"""mutation BackfillStart($query: String!) {{ bulkOperationRunQuery(query: $query, groupObjects: true) {{
bulkOperation {{ {_FIELDS} }} userErrors {{ field message code }} }} }}"""
LOOK = f"query BackfillLook($id: ID!) {{ bulkOperation(id: $id) {{ {_FIELDS} }} }}"
FIND = f"""query BackfillFind($first: Int!, $since: String!) {{
bulkOperations(first: $first, query: $since, sortKey: CREATED_AT, reverse: true) {{ nodes {{ {_FIELDS} }} }} }}"""
CANCEL = """mutation BackfillCancel($id: ID!) { bulkOperationCancel(id: $id) {
bulkOperation { id status } userErrors { field message } } }"""

_NEWEST = 100
_CLOCKS_DIFFER = timedelta(minutes=5)
_BUSY = frozenset({"OPERATION_IN_PROGRESS", "LIMIT_REACHED"})


class Busy(ShopbusError):
    """Shopify runs as many bulk operations of this app and shop as it does at once."""


@dataclass(frozen=True, slots=True)
class Operation:
    """One bulk operation as Shopify tells of it."""

    gid: str
    status: str
    error: str | None
    url: str | None
    lines: int  # so far
    created_at: datetime
    query: str

    @classmethod
    def of(cls, node: Mapping[str, Any]) -> "Operation":
        created = datetime.fromisoformat(node["createdAt"])
        lines = int(node["objectCount"])
        return cls(node["id"], node["status"], node["errorCode"], node["url"], lines, created, node["query"])


@dataclass(frozen=True, slots=True)
class BulkOperations:
    """What is asked of any shop."""

    admin: AdminApi

    async def start(self, shop: str, query: str) -> Operation:
        """Begins one; raises `Busy`, and `OutcomeUnknown` where it may have begun."""
        answer = await self._ask(shop, START, {"query": query})
        try:
            return Operation.of(answer.done("bulkOperationRunQuery")["bulkOperation"])
        except UserErrors as error:
            if any(one.code in _BUSY for one in error.user_errors):
                raise Busy from error
            raise

    async def find(self, shop: str, name: str, asked_at: datetime) -> Operation | None:
        """The one whose query has this name, if it has begun."""
        since = (asked_at - _CLOCKS_DIFFER).astimezone(UTC)
        variables = {"first": _NEWEST, "since": f"created_at:>='{since:%Y-%m-%dT%H:%M:%SZ}'"}
        listed = _member(await self._ask(shop, FIND, variables), "bulkOperations")
        found = [Operation.of(node) for node in (listed or {}).get("nodes", ())]
        return next((one for one in found if name in one.query), None)

    async def look(self, shop: str, gid: str) -> Operation | None:
        """One of them as it is now; None where Shopify does not know it any more."""
        node = _member(await self._ask(shop, LOOK, {"id": gid}), "bulkOperation")
        return None if node is None else Operation.of(node)

    async def cancel(self, shop: str, gid: str) -> None:
        """Ends one before its time; one that has ended stays as it is."""
        await self._ask(shop, CANCEL, {"id": gid})

    async def _ask(self, shop: str, query: str, variables: Mapping[str, Any]) -> Answer:
        return await self.admin.graphql(shop, query, variables, lane=ApiLane.BACKFILL)


def _member(answer: Answer, name: str) -> Mapping[str, Any] | None:
    """What was asked for; a null beside errors says that Shopify could not tell."""
    found: Mapping[str, Any] | None = answer.data.get(name)
    if found is None and answer.errors:
        raise Unavailable(answer.errors[0].message)
    return found
