"""Products, orders and customers of a shop, asked of the Admin API for the app's own pages (SHOPIFY 6.6)."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, TypeVar

import orjson
from pydantic import BaseModel, ValidationError

from libs.common.clock import Clock
from libs.common.errors import ShopbusError
from libs.common.runtime.calls import AdminApi
from libs.common.shopify.admin import errors
from libs.common.shopify.admin.answers import Answer
from libs.common.shopify.admin.errors import GraphqlError
from libs.common.shopify.admin.lanes import ApiLane
from services.worker import data_models as models
from services.worker import data_queries as queries
from services.worker.data_cache import Answered, DataCache, Found, Key

ASK_SECONDS = 15.0  # a page does not wait longer; the client's own repetitions are within it
_DENIED = "ACCESS_DENIED"
_NEEDED = re.compile(r"`([a-z_]{1,64})` access scope", re.ASCII)

Json = Mapping[str, Any]
M = TypeVar("M", bound=BaseModel)


@dataclass(frozen=True, slots=True)
class Subject:
    """One kind of thing that a shop has."""

    many: str  # as addresses and Shopify's fields call them
    one: str
    scope: str
    lane: ApiLane
    statuses: Sequence[str]  # that a list can be asked for
    page: tuple[str, type[BaseModel]]
    detail: tuple[str, type[BaseModel]]

    def gid(self, number: int) -> str:
        return f"gid://shopify/{self.one.capitalize()}/{number}"


PRODUCTS = Subject(
    "products", "product", "read_products", ApiLane.CATALOGUE, ("active", "archived", "draft"),
    (queries.PRODUCTS, models.Product), (queries.PRODUCT, models.ProductDetail),
)  # fmt: skip
ORDERS = Subject(
    "orders", "order", "read_orders", ApiLane.ORDERS, ("open", "closed", "cancelled"),
    (queries.ORDERS, models.Order), (queries.ORDER, models.OrderDetail),
)  # fmt: skip
CUSTOMERS = Subject(
    "customers", "customer", "read_customers", ApiLane.ORDERS, (),
    (queries.CUSTOMERS, models.Customer), (queries.CUSTOMER, models.CustomerDetail),
)  # fmt: skip
SUBJECTS = (PRODUCTS, ORDERS, CUSTOMERS)


class NoSuchThing(ShopbusError):
    """The shop has nothing of this id, or the app may not see it."""


class BadCursor(ShopbusError):
    """Shopify does not know the place at which this page was to begin."""


class UnexpectedAnswer(ShopbusError):
    """Shopify's answer is not what this version of its API is known to give."""


class MissingScope(ShopbusError):
    """The app may not read this."""

    def __init__(self, scope: str) -> None:
        super().__init__(f"the app lacks the scope {scope} at this shop, or Shopify's approval for such data")


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which page of a list; None is any, and the first one."""

    limit: int
    updated_since: datetime | None = None
    status: str | None = None
    after: str | None = None  # Shopify's cursor

    @property
    def search(self) -> str | None:
        """What it is in Shopify's search syntax."""
        terms = []
        if self.updated_since is not None:
            terms.append(f"updated_at:>='{self.updated_since.isoformat()}'")
        if self.status is not None:
            terms.append(f"status:{self.status}")
        return " AND ".join(terms) or None


@dataclass(frozen=True, slots=True)
class Data:
    """Answers for one shop at a time, from memory where that is fresh."""

    admin: AdminApi
    cache: DataCache
    clock: Clock

    async def page(self, shop: str, subject: Subject, wanted: Wanted, cursor: Callable[[str], str]) -> Found:
        """A page of a list, newest change first; `cursor` makes what callers get out of Shopify's."""
        query, model = subject.page
        variables = {"first": wanted.limit, "after": wanted.after, "query": wanted.search}

        async def ask() -> Answered:
            try:
                answer = await self._ask(shop, subject, query, variables)
            except errors.QueryRefused as error:
                if wanted.after is None:
                    raise
                raise BadCursor from error
            found = _member(answer, subject.many)
            told = found["pageInfo"]
            following = cursor(told["endCursor"]) if told["hasNextPage"] else None
            return self._answered(answer, {subject.many: _shown(model, found["nodes"]), "next": following})

        return await self.cache.get(Key(shop, subject.many, f"page {variables}"), ask)

    async def detail(self, shop: str, subject: Subject, number: int) -> Found:
        """One thing with its parts; raises `NoSuchThing`."""
        query, model = subject.detail

        async def ask() -> Answered:
            answer = await self._ask(shop, subject, query, {"id": subject.gid(number)})
            return self._answered(answer, _shown(model, [_member(answer, subject.one)])[0])

        return await self.cache.get(Key(shop, subject.many, f"one {number}"), ask)

    async def transactions(self, shop: str, number: int) -> Found:
        """An order's transactions in the order in which they happened; raises `NoSuchThing`."""

        async def ask() -> Answered:
            answer = await self._ask(shop, ORDERS, queries.TRANSACTIONS, {"id": ORDERS.gid(number)})
            [found] = _read(models.Transactions, [_member(answer, ORDERS.one)])
            shown = [orjson.Fragment(one.model_dump_json()) for one in found.transactions]
            return self._answered(answer, {"transactions": shown, "next": None})

        return await self.cache.get(Key(shop, ORDERS.many, f"transactions of {number}"), ask)

    async def _ask(self, shop: str, subject: Subject, query: str, variables: Json) -> Answer:
        try:
            return await self.admin.graphql(shop, query, variables, lane=subject.lane, timeout=ASK_SECONDS)
        except errors.AccessDenied as error:
            raise MissingScope(_scope(error.errors, subject.scope)) from error

    def _answered(self, answer: Answer, content: object) -> Answered:
        missing = sorted({_field(error) for error in answer.errors})
        lasting = all(error.code == _DENIED for error in answer.errors)
        body = orjson.dumps(content, option=orjson.OPT_UTC_Z)
        return Answered.of(body, self.clock.monotonic(), tuple(missing), lasting=lasting)


def _member(answer: Answer, name: str) -> Any:
    """What was asked for; a null may also mean that a scope is lacking, or that a part of Shopify is away."""
    found = answer.data.get(name)
    if found is None and answer.errors:
        raise errors.Unavailable(answer.errors[0].message)
    if found is None:
        raise NoSuchThing
    return found


def _read(model: type[M], nodes: Sequence[Any]) -> list[M]:
    try:
        return [model.model_validate(node) for node in nodes]
    except ValidationError as error:
        places = {".".join(map(str, one["loc"])) for one in error.errors(include_input=False)}
        raise UnexpectedAnswer(f"Shopify's answer lacks or misspells {', '.join(sorted(places))}") from None


def _shown(model: type[BaseModel], nodes: Sequence[Any]) -> list[orjson.Fragment]:
    return [orjson.Fragment(one.model_dump_json()) for one in _read(model, nodes)]


def _scope(found: Sequence[GraphqlError], otherwise: str) -> str:
    """The scope that Shopify names, else the one that the subject is known to need."""
    for error in found:
        if named := _NEEDED.search(error.message):
            return named[1]
    return otherwise


def _field(error: GraphqlError) -> str:
    """The field that is missing, without the numbers of rows: `customer`."""
    names = [part for part in error.path if isinstance(part, str)]
    return names[-1] if names else "unknown"
