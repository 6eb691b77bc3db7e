"""What the Admin API says changed, and what is missing of it."""

from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from typing import Any

from libs.common.runtime.calls import AdminApi
from libs.common.shopify.admin.answers import Answer
from libs.common.shopify.admin.errors import QueryRefused, Unavailable
from libs.common.shopify.admin.lanes import ApiLane
from libs.common.shopify.scopes import Scopes
from services.webhooks.reconcile_payloads import PARTS, fields, number_of, parts
from services.webhooks.reconcile_plan import Changed, Family, Span, second_of

Json = Mapping[str, Any]

PAGE = 250
_FEW_PARTS = 40  # lines of an order, variants, addresses: most have fewer, and each is paid for in advance
_MOST_PAGES = 100  # 25,000 of them, as deep as Shopify's lists go; a product has 2,048 variants at most
# Shopify counts on to 25,000 in one list (SHOPIFY 6.3); then the list is begun anew from there.
_DEEPEST = 20_000
_SECONDS = 60.0  # for a call: it waits for everything else that the shop is asked

SCOPES = "query ReconcileScopes { currentAppInstallation { accessScopes { handle } } }"


async def scopes(admin: AdminApi, shop: str) -> frozenset[str]:
    """What the app may see of the shop."""
    answer = await _ask(admin, shop, SCOPES, {})
    return Scopes.of(one["handle"] for one in answer.data["currentAppInstallation"]["accessScopes"]).expanded


async def changed(admin: AdminApi, shop: str, family: Family, span: Span) -> AsyncIterator[list[Changed]]:
    """The resources whose last change fell into the span, page by page, the longest unchanged first.

    Shopify is not told where it ends, and what it gives before it begins is left out: it documents that a customer's
    `updated_at` matches a whole day, so a bound within one may mean another moment.
    """
    query, start, after = _list_of(family), span.start, None
    count, tail = 0, list[Changed]()  # of the list being read, and what of it has the last second's time
    seen = frozenset[int]()
    while True:
        page, after = await _page(admin, shop, family, query, start, after)
        yield [one for one in page if span.start <= one.updated_at < span.end and one.id not in seen]
        count += len(page)
        if after is None or not page or page[-1].updated_at >= span.end:
            return
        tail = [one for one in (*tail, *page) if one.updated_at == page[-1].updated_at]
        if count >= _DEEPEST:
            if tail[0].updated_at == start:
                raise Unavailable(f"more than {_DEEPEST} {family.name} come with the change of one moment")
            start, seen = tail[0].updated_at, frozenset(one.id for one in tail)
            count, tail, after = 0, [], None


@dataclass(frozen=True, slots=True)
class Resources:
    """Fetches single resources of a shop."""

    admin: AdminApi
    shop: str
    granted: frozenset[str]

    async def fetch(self, family: Family, number: int) -> Json | None:
        """One of them whole, or None where it is not there any more. What the app is not approved for is null.

        Raises `QueryRefused` for one that Shopify lists and does not show, or that has too many parts.
        """
        gid, name = f"gid://shopify/{family.single.capitalize()}/{number}", PARTS[family.name]
        node = await self._ask(family, _single_of(family, self.granted), gid, _FEW_PARTS, None)
        if node is None:
            await self._check_gone(family, number)
            return None
        nodes, page = list(node[name]["nodes"]), node[name]["pageInfo"]
        for _ in range(_MOST_PAGES):
            if not page["hasNextPage"]:
                break
            more = await self._ask(family, _parts_of(family, self.granted), gid, PAGE, page["endCursor"])
            if more is None:
                return None
            nodes += more[name]["nodes"]
            page = more[name]["pageInfo"]
        if page["hasNextPage"]:
            raise QueryRefused(f"it has more than {len(nodes)} {name}")
        return {**node, name: {"nodes": nodes}}

    async def _check_gone(self, family: Family, number: int) -> None:
        """Null is said of what was deleted, and of what the app may not see; lists leave out only the former."""
        query = _list_of(family)
        answer = await _ask(self.admin, self.shop, query, {"first": 1, "query": f"id:{number}"})
        if answer.partial:
            raise Unavailable(_told(answer))
        if any(number_of(node["id"]) == number for node in answer.data[family.name]["nodes"]):
            raise QueryRefused("Shopify lists it, and answers null where it is asked for")

    async def _ask(self, family: Family, query: str, gid: str, number: int, after: str | None) -> Json | None:
        """Raises `Unavailable` for half an answer, apart from what is denied within it."""
        variables = {"id": gid, "parts": number, "after": after}
        answer = await _ask(self.admin, self.shop, query, variables)
        node: Json | None = answer.data.get(family.single)
        if any(error.code != "ACCESS_DENIED" for error in answer.errors) or (node is None and answer.partial):
            raise Unavailable(_told(answer))
        return node


async def _page(
    admin: AdminApi, shop: str, family: Family, query: str, since: datetime, after: str | None
) -> tuple[list[Changed], str | None]:
    """Raises `Unavailable` for half an answer: what is not in it must not be taken for unchanged."""
    search = f"updated_at:>='{_instant(since)}'"
    answer = await _ask(admin, shop, query, {"first": PAGE, "after": after, "query": search})
    if answer.partial:
        raise Unavailable(_told(answer))
    found = answer.data[family.name]
    page = found["pageInfo"]
    nodes = [_changed(family, node) for node in found["nodes"]]
    return nodes, page["endCursor"] if page["hasNextPage"] else None


def _changed(family: Family, node: Mapping[str, Any]) -> Changed:
    moments = {topic: _moment(node[field]) for topic, field in family.moments.items() if node[field]}
    return Changed(number_of(node["id"]), _moment(node["updatedAt"]), moments)


@cache
def _list_of(family: Family) -> str:
    """Two points, and one for each resource."""
    asked = "$first: Int!, $after: String, $query: String"
    order = "first: $first, after: $after, query: $query, sortKey: UPDATED_AT"
    nodes = (
        f"nodes {{ id updatedAt {' '.join(family.moments.values())} }} pageInfo {{ hasNextPage endCursor }}"
    )
    return f"query Reconcile{family.name.capitalize()}({asked}) {{ {family.name}({order}) {{ {nodes} }} }}"


@cache
def _single_of(family: Family, granted: frozenset[str]) -> str:
    return _about(family, "", fields(family.name, granted))


@cache
def _parts_of(family: Family, granted: frozenset[str]) -> str:
    return _about(family, "Parts", parts(family.name, granted))


def _about(family: Family, what: str, asked: str) -> str:
    name, given = family.single, "$id: ID!, $parts: Int!, $after: String"
    return f"query Reconcile{name.capitalize()}{what}({given}) {{ {name}(id: $id) {{ {asked} }} }}"


async def _ask(admin: AdminApi, shop: str, query: str, variables: Mapping[str, Any]) -> Answer:
    return await admin.graphql(shop, query, variables, lane=ApiLane.BACKFILL, timeout=_SECONDS)


def _told(answer: Answer) -> str:
    return "; ".join(error.message for error in answer.errors)


def _moment(text: str) -> datetime:
    return second_of(datetime.fromisoformat(text))


def _instant(moment: datetime) -> str:
    return f"{moment.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}"
