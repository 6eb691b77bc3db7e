"""Answers the fields of `Query` for one app with its scopes at one shop."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

from services.sandbox import shops
from services.sandbox.admin_api import goods, people, sales
from services.sandbox.admin_api.paging import Cursors, connection, size
from services.sandbox.admin_api.values import bad_request, denied, local_id, time
from services.sandbox.scene import Json, Scene, gid, store_of
from services.sandbox.search import BadSearch, Range, Search, parse_search
from services.sandbox.stage import Stage
from services.sandbox.stock import Stock
from services.sandbox.store import Place, Row, SortKey

RESOURCES = {"products": "Product", "orders": "Order", "customers": "Customer"}
_RECENT = 60 * 86_400  # seconds of orders that an app sees without read_all_orders


@dataclass(frozen=True, slots=True)
class Desk:
    """Whoever asks, and the store that is asked."""

    stage: Stage
    stock: Stock
    shop: str
    scopes: frozenset[str]
    warnings: list[Json] = field(default_factory=list)  # what Shopify says of searches beside the answer

    def fields(self) -> dict[str, Any]:
        """The fields of `Query` that are about the store itself."""
        kinds = {kind: self._list(kind) for kind in RESOURCES}
        counts = {f"{kind}Count": self._count(kind) for kind in RESOURCES}
        singles = {kind.removesuffix("s"): self._single(kind) for kind in RESOURCES}
        return {
            **kinds,
            **counts,
            **singles,
            "shop": lambda _: self._shop(),
            "currentAppInstallation": lambda _: self._installation(),
        }

    def node(self, row: Row) -> Json:
        """A resource as GraphQL shows it."""
        facts = self.stock.facts(row)
        if row.kind == "products":
            return goods.product(row, facts)
        if row.kind == "customers":
            return people.customer(row, facts)
        return sales.order(row, facts, customer=lambda: self._customer_of(row), product=self._product)

    def search(self, kind: str, text: str | None) -> Search:
        """Reads a search, and keeps to the orders that the app may see."""
        try:
            found = parse_search(text)
        except BadSearch as error:
            raise bad_request(str(error)) from error
        self._warn(kind, text, found)
        if kind != "orders" or "read_all_orders" in self.scopes:
            return found
        since = int(self.stock.clock.now().timestamp()) - _RECENT
        return replace(found, created=Range(max(found.created.low, since), found.created.high))

    def need(self, scope: str, name: str) -> None:
        """Refuses a field to an app that may not see it."""
        if scope not in self.scopes:
            raise denied(name, scope)

    def _list(self, kind: str) -> Callable[..., Json]:
        def page(_: object, **arguments: Any) -> Json:
            self.need(f"read_{kind}", kind)
            limit, reverse = size(arguments), bool(arguments.get("reverse"))
            key, text = sort_key(arguments.get("sortKey")), arguments.get("query")
            cursors = Cursors.of(kind, key, reverse, text)
            after = cursors.read(arguments.get("after"))
            rows = self.stock.shelves.page(
                self.shop,
                kind,
                self.search(kind, text),
                key=key,
                limit=limit + 1,
                after=after,
                reverse=reverse,
            )
            return connection(
                rows,
                limit,
                make=self.node,
                cursor=lambda row: cursors.write(Place(row.value(key), row.id)),
                later=after is not None,
            )

        return page

    def _count(self, kind: str) -> Callable[..., Json]:
        def count(_: object, query: str | None = None, limit: int | None = None) -> Json:
            self.need(f"read_{kind}", f"{kind}Count")
            found = self.stock.shelves.count(self.shop, kind, self.search(kind, query))
            if limit is not None and found > limit:
                return {"count": limit, "precision": "AT_LEAST"}
            return {"count": found, "precision": "EXACT"}

        return count

    def _single(self, kind: str) -> Callable[..., Json | None]:
        name = kind.removesuffix("s")

        def single(_: object, id: str) -> Json | None:  # noqa: A002 - the argument's name in the schema
            self.need(f"read_{kind}", name)
            number = local_id(id, RESOURCES[kind])
            row = None if number is None else self.stock.shelves.by_id(self.shop, kind, number)
            return self.node(row) if row and self._visible(row) else None

        return single

    def _visible(self, row: Row) -> bool:
        return row.kind != "orders" or row.created_at >= self.search("orders", None).created.low

    def _customer_of(self, order: Row) -> Json | None:
        self.need("read_customers", "customer")
        row = self.stock.customer_of(order)
        return self.node(row) if row else None

    def _product(self, identifier: int) -> Json | None:
        self.need("read_products", "product")
        row = self.stock.shelves.by_id(self.shop, "products", identifier)
        return self.node(row) if row else None

    def _warn(self, kind: str, text: str | None, found: Search) -> None:
        warnings = [
            {"field": name, "message": "Invalid search field for this query.", "code": "invalid_field"}
            for name in found.unknown
        ]
        if warnings:
            self.warnings.append({"path": [kind], "query": text, "warnings": warnings})

    def _shop(self) -> Json:
        facts = shops.shop(Scene.of(self.shop, "shop", seed=0, number=0, now=self.stock.clock.now()))
        address = f"https://{self.shop}"
        return {
            "id": gid("Shop", facts["id"]),
            "name": facts["name"],
            "email": facts["email"],
            "contactEmail": facts["customer_email"],
            "shopOwnerName": facts["shop_owner"],
            "myshopifyDomain": self.shop,
            "url": address,
            "currencyCode": facts["currency"],
            "ianaTimezone": facts["iana_timezone"],
            "timezoneAbbreviation": facts["timezone"][1:10],
            "taxesIncluded": facts["taxes_included"],
            "plan": {
                "publicDisplayName": facts["plan_display_name"],
                "partnerDevelopment": True,
                "shopifyPlus": False,
            },
            "primaryDomain": {
                "id": gid("Domain", facts["id"]),
                "host": self.shop,
                "url": address,
                "sslEnabled": True,
            },
            "createdAt": time(facts["created_at"]),
            "updatedAt": time(facts["updated_at"]),
        }

    def _installation(self) -> Json:
        handles = sorted(self.scopes)
        return {
            "id": gid("AppInstallation", store_of(self.shop).id + 3),
            "launchUrl": self.stage.framed_app(self.shop),
            "uninstallUrl": None,
            "accessScopes": [
                {"handle": handle, "description": f"{handle.replace('_', ' ').capitalize()}"}
                for handle in handles
            ],
        }


def sort_key(name: str | None) -> SortKey:
    """An order is processed when it is created, so one column serves both."""
    return SortKey.CREATED_AT if name in {None, "PROCESSED_AT"} else SortKey(name)
