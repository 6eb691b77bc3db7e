"""A shop's webhook subscriptions over the Admin API. Shopify lists those of this app that were made through the API."""

from dataclasses import dataclass

from libs.common.contracts.subscriptions import Wanted, enum_of
from libs.common.runtime.calls import AdminApi
from libs.common.shopify.admin.errors import Unavailable
from libs.common.shopify.scopes import Scopes
from services.webhooks.subscriptions_plan import Actual, subscription

READ = """
query WebhookSubscriptions($after: String) {
  currentAppInstallation { accessScopes { handle } }
  webhookSubscriptions(first: 100, after: $after) {
    nodes { id topic uri format filter includeFields }
    pageInfo { hasNextPage endCursor }
  }
}
"""
CREATE = """
mutation WebhookSubscriptionCreate($topic: WebhookSubscriptionTopic!, $input: WebhookSubscriptionInput!) {
  webhookSubscriptionCreate(topic: $topic, webhookSubscription: $input) {
    webhookSubscription { id topic uri format filter includeFields } userErrors { field message }
  }
}
"""
UPDATE = """
mutation WebhookSubscriptionUpdate($id: ID!, $input: WebhookSubscriptionInput!) {
  webhookSubscriptionUpdate(id: $id, webhookSubscription: $input) {
    webhookSubscription { id topic uri format filter includeFields } userErrors { field message }
  }
}
"""
DELETE = """
mutation WebhookSubscriptionDelete($id: ID!) {
  webhookSubscriptionDelete(id: $id) { deletedWebhookSubscriptionId userErrors { field message } }
}
"""


@dataclass(frozen=True, slots=True)
class Found:
    """What Shopify has for a shop: all of it, or the call has failed."""

    scopes: frozenset[str]
    actual: list[Actual]


async def read(admin: AdminApi, shop: str) -> Found:
    """Raises `Unavailable` for half an answer: what is not in it must not be taken for missing."""
    actual: list[Actual] = []
    after: str | None = None
    while True:
        answer = await admin.graphql(shop, READ, {"after": after})
        if answer.partial:
            raise Unavailable("; ".join(error.message for error in answer.errors))
        page = answer.data["webhookSubscriptions"]
        actual += map(Actual.of, page["nodes"])
        if not page["pageInfo"]["hasNextPage"]:
            granted = answer.data["currentAppInstallation"]["accessScopes"]
            return Found(Scopes.of(one["handle"] for one in granted).expanded, actual)
        after = page["pageInfo"]["endCursor"]


async def create(admin: AdminApi, shop: str, wanted: Wanted, uri: str) -> Actual:
    """Raises `UserErrors` or `AccessDenied` where Shopify does not do it."""
    variables = {"topic": enum_of(wanted.topic), "input": subscription(wanted, uri)}
    answer = await admin.graphql(shop, CREATE, variables)
    return Actual.of(answer.done("webhookSubscriptionCreate")["webhookSubscription"])


async def update(admin: AdminApi, shop: str, identifier: str, wanted: Wanted, uri: str) -> Actual:
    """Raises as `create` does."""
    answer = await admin.graphql(shop, UPDATE, {"id": identifier, "input": subscription(wanted, uri)})
    return Actual.of(answer.done("webhookSubscriptionUpdate")["webhookSubscription"])


async def delete(admin: AdminApi, shop: str, identifier: str) -> None:
    """Raises as `create` does."""
    (await admin.graphql(shop, DELETE, {"id": identifier})).done("webhookSubscriptionDelete")
