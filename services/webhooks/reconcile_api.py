"""What the Admin API says changed, and what is missing of it."""

from collections.abc import AsyncIterator, Mapping
from datetime import UTC, datetime
from functools import cache
from typing import Any

from libs.common.runtime.calls import AdminApi
from libs.common.shopify.admin.answers import Answer
from libs.common.shopify.admin.errors import Unavailable
from libs.common.shopify.admin.lanes import ApiLane
from libs.common.shopify.scopes import Scopes
from services.webhooks.reconcile_payloads import fields, has_more, number_of
from services.webhooks.reconcile_plan import Changed, Family, Span, second_of

PAGE = 250
_FEW_PARTS = 40  # lines of an order, variants, addresses: most have fewer, and each is paid for in advance
_DEEPEST = (
    20_000  # Shopify counts on to 25,000 in one list (SHOPIFY 6.3); then the list is begun anew from there
)
_SECONDS = 60.0  # for a call: it waits for everything else that the shop is asked

SCOPES = "query ReconcileScopes { currentAppInstallation { accessScopes { handle } } }"


async def scopes(admin: AdminApi, shop: str) -> frozenset[str]:
    """What the app may see of the shop."""
    answer = await _ask(admin, shop, SCOPES, {})
    return Scopes.of(one["handle"] for one in answer.data["currentAppInstallation"]["accessScopes"]).expanded


async def changed(admin: AdminApi, shop: str, family: Family, span: Span) -> AsyncIterator[list[Changed]]:
    """The resources whose last change fell into the span, page by page, the longest unchanged first."""
    query, start, after = _list_of(family), span.start, None
    count, tail = (
        0,
        list[Changed](),
    )  # of the list that is being read, and what of it has the last second's time
    seen = frozenset[int]()
    while True:
        page, after = await _page(admin, shop, family, query, Span(start, span.end), after)
        yield [one for one in page if one.id not in seen]
        count += len(page)
        if after is None:
            return
        tail = [one for one in (*tail, *page) if one.updated_at == page[-1].updated_at]
        if count >= _DEEPEST:
            if tail[0].updated_at == start:
                raise Unavailable(f"more than {_DEEPEST} {family.name} have changed in one second")
            start, seen = tail[0].updated_at, frozenset(one.id for one in tail)
            count, tail, after = 0, [], None


async def fetch(
    admin: AdminApi, shop: str, family: Family, number: int, granted: frozenset[str]
) -> Mapping[str, Any] | None:
    """One resource whole, or None where it is not there any more. What the app is not approved for is null."""
    node = await _whole(admin, shop, family, number, granted, _FEW_PARTS)
    if node is not None and has_more(node):
        return await _whole(admin, shop, family, number, granted, PAGE)
    return node


async def _whole(
    admin: AdminApi, shop: str, family: Family, number: int, granted: frozenset[str], parts: int
) -> Mapping[str, Any] | None:
    gid = f"gid://shopify/{family.single.capitalize()}/{number}"
    answer = await _ask(admin, shop, _single_of(family, granted), {"id": gid, "parts": parts})
    node: Mapping[str, Any] | None = answer.data.get(family.single)
    if any(error.code != "ACCESS_DENIED" for error in answer.errors) or (node is None and answer.partial):
        raise Unavailable(_told(answer))
    return node


async def _page(
    admin: AdminApi, shop: str, family: Family, query: str, span: Span, after: str | None
) -> tuple[list[Changed], str | None]:
    """Raises `Unavailable` for half an answer: what is not in it must not be taken for unchanged."""
    within = f"updated_at:>='{_instant(span.start)}' AND updated_at:<'{_instant(span.end)}'"
    answer = await _ask(admin, shop, query, {"first": PAGE, "after": after, "query": within})
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
    name = family.single
    asked = fields(family.name, granted)
    return f"query Reconcile{name.capitalize()}($id: ID!, $parts: Int!) {{ {name}(id: $id) {{ {asked} }} }}"


async def _ask(admin: AdminApi, shop: str, query: str, variables: Mapping[str, Any]) -> Answer:
    return await admin.graphql(shop, query, variables, lane=ApiLane.BACKFILL, timeout=_SECONDS)


def _told(answer: Answer) -> str:
    return "; ".join(error.message for error in answer.errors)


def _moment(text: str) -> datetime:
    return second_of(datetime.fromisoformat(text))


def _instant(moment: datetime) -> str:
    return f"{moment.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}"
