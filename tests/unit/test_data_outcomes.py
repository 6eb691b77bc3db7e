"""What the data endpoints make of each way in which a question can end."""

from collections.abc import Iterator

import pytest

from libs.common.contracts.topology import ROUTES, matches
from libs.common.shopify.admin import errors
from libs.common.shopify.admin.answers import Faulty, TokenRefused, TooMany
from libs.common.shopify.admin.errors import AdminError
from libs.common.shopify.admin.wire import NoAnswer, NothingSent
from libs.common.token_client import NeedsAuthorization, NotInstalled
from services.worker.data_drops import CHANGED, EVERYTHING, changed_by
from services.worker.routes_data import DETAILS, OUTCOMES, problem_of

INSIDE = {TokenRefused, Faulty, TooMany, NoAnswer, NothingSent}  # the client makes others of them


def kinds(base: type[AdminError] = AdminError) -> Iterator[type[AdminError]]:
    for kind in base.__subclasses__():
        yield kind
        yield from kinds(kind)


@pytest.mark.parametrize("kind", sorted({*kinds()} - INSIDE, key=str))
def test_every_outcome_of_the_admin_api_has_an_answer(kind: type[AdminError]) -> None:
    assert any(parent in OUTCOMES for parent in kind.__mro__)


@pytest.mark.parametrize(
    ("error", "status", "kind", "after"),
    [
        (errors.Throttled(3.2), 429, "throttled", "4"),
        (errors.ShopFrozen(3600.0), 402, "shop-frozen", "3600"),
        (errors.ShopLocked(60.0), 423, "shop-locked", "60"),
        (errors.ShopInactive(60.0), 423, "shop-inactive", "60"),
        (errors.SecurityRejection(900.0), 503, "shopify-away", "900"),
        (errors.CircuitOpen(0.2), 503, "shopify-away", "1"),
        (errors.TokenAway(5.0), 503, "shopify-away", "5"),
        (errors.Unavailable("no"), 503, "shopify-away", "5"),
        (errors.AccessEnded(3600.0), 409, "needs-authorization", None),
        (NeedsAuthorization(), 409, "needs-authorization", None),
        (NotInstalled(), 409, "not-installed", None),
        (errors.Forbidden(), 403, "forbidden", None),
        (errors.NotThere(), 404, "no-such-shop", None),
        (errors.QueryRefused("a field"), 502, "query-refused", None),
        (errors.TooExpensive(), 502, "query-refused", None),
    ],
)
def test_each_is_told_in_our_words(error: AdminError, status: int, kind: str, after: str | None) -> None:
    problem = problem_of(error)
    assert problem is not None
    assert (problem.status, problem.kind, problem.headers.get("Retry-After")) == (status, kind, after)
    assert problem.detail == DETAILS[kind]


@pytest.mark.parametrize(
    ("message", "subjects"),
    [
        ("webhook.products.update", ("products",)),
        ("webhook.orders.partially_fulfilled", ("orders", "customers")),
        ("webhook.order_transactions.create", ("orders",)),
        ("webhook.customers.redact", ("customers", "orders")),
        ("webhook.customer.tags_added", ("customers",)),
        ("webhook.app.uninstalled", (EVERYTHING,)),
        ("webhook.app.subscriptions_update", ()),
        ("webhook.themes.publish", ()),
        ("pixel.frame", ()),
        ("install.ended", (EVERYTHING,)),
    ],
)
def test_a_message_changes_its_subjects(message: str, subjects: tuple[str, ...]) -> None:
    assert changed_by(message) == subjects


@pytest.mark.parametrize("begins", CHANGED)
def test_the_worker_gets_every_message_that_changes_something(begins: str) -> None:
    message = f"{begins}update" if begins.endswith(".") else begins
    route = next(route for route in ROUTES if matches(route.pattern, message))
    assert "worker" in route.destinations
