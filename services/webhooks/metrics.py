"""Every metric of services/webhooks, with kind, unit and meaning."""

from functools import lru_cache

from prometheus_client import Counter, Gauge, Histogram

from libs.common.shopify.signatures import Signer
from libs.common.shopify.webhook_headers import Format

_TOPIC = ("topic", "format")

RECEIVED = Counter(
    "webhook_received_total", "Requests to the webhook address: accepted, duplicate or rejected.", _TOPIC
)
ACCEPTED = Counter("webhook_accepted_total", "Deliveries committed for the first time.", _TOPIC)
DUPLICATE = Counter(
    "webhook_duplicate_total", "Deliveries that were committed before; answered with 200.", _TOPIC
)
REJECTED = Counter(
    "webhook_rejected_total", "Requests that were not answered with 200, by cause.", ["reason"]
)
VERIFIED = Counter(
    "webhook_verified_total", "Signatures checked, by the secret that made them: current, old, none.", ["key"]
)
VERIFIED_BY = {signer: VERIFIED.labels(signer.value) for signer in Signer}
TRIGGER_TO_RECEIPT = Histogram(
    "webhook_trigger_to_receipt_seconds",
    "From Shopify's X-Shopify-Triggered-At to the commit.",
    ["topic"],
    buckets=(0.5, 1, 2, 5, 10, 30, 60, 300, 900, 3600, 14400, 86400),
)
REJECTED_UNLOGGED = Counter(
    "webhook_rejected_unlogged_total", "Rejections that are counted but missing in the log, which is bounded."
)
LAST_ACCEPTED = Gauge(
    "webhook_last_accepted_timestamp_seconds",
    "When this process last answered a delivery of the topic with 200.",
    ["topic"],
)
SUBSCRIPTION_DRIFT = Gauge(
    "subscription_drift",
    "Shops whose subscription to the topic is not as wanted after the last check.",
    ["topic"],
)
SUBSCRIPTION_REFUSED = Gauge(
    "subscription_refused",
    "Shops where Shopify does not let us have the topic, as for want of a scope.",
    ["topic"],
)
SUBSCRIPTION_OVERDUE = Gauge(
    "subscription_overdue_seconds", "For how long the check that is most overdue has been due."
)
SUBSCRIPTION_CHECKS = Counter(
    "subscription_checks_total",
    "Checks of a shop's subscriptions: done, not_installed, postponed, refused, failed, fault.",
    ["outcome"],
)
SUBSCRIPTION_REPAIRS = Counter(
    "subscription_repairs_total",
    "Subscriptions created, updated, deleted, or refused by Shopify.",
    ["action"],
)
SUBSCRIPTION_DELETION_RISK = Gauge(
    "subscription_deletion_risk_seconds",
    "Until Shopify deletes the topic's subscriptions, if our failures go on as since the last success.",
    ["topic"],
)
RECONCILED = Counter(
    "reconciled_total", "Webhooks that had not come and were fed by the reconciler.", ["topic"]
)
RECONCILED_LATE = Counter(
    "reconciled_late_total", "Webhooks that came after the reconciler had fed what they tell."
)
RECONCILE_RUNS = Counter(
    "reconcile_runs_total",
    "Comparisons of a shop with Shopify: done, goes_on, not_installed, postponed, refused, failed, taken_over, fault.",
    ["outcome"],
)
RECONCILE_MISSING = Gauge(
    "reconcile_missing", "Webhooks that have not come and could not be fed, as of the last runs.", ["topic"]
)
RECONCILE_UNPROVEN = Gauge(
    "reconcile_unproven_seconds",
    "For how long nobody knows of the shop furthest behind whether anything is missing.",
)
RECONCILE_AGE = Gauge(
    "reconcile_age_seconds",
    "Since the last run of a shop came to its end, of the shop where it is longest ago.",
)

OTHER = "other"

# Anyone may put anything into the topic header, so only these become labels. What Shopify adds later is `other`.
KNOWN_TOPICS = frozenset(
    """
    app/scopes_update app/uninstalled app_purchases_one_time/update app_subscriptions/approaching_capped_amount
    app_subscriptions/update bulk_operations/finish carts/create carts/update checkouts/create checkouts/delete
    checkouts/update collections/create collections/delete collections/update companies/create companies/delete
    companies/update customer.tags_added customer.tags_removed customers/create customers/data_request
    customers/delete customers/disable customers/enable customers/merge customers/purchasing_summary
    customers/redact customers/update customers_email_marketing_consent/update
    customers_marketing_consent/update discounts/create discounts/delete discounts/update disputes/create
    disputes/update domains/create domains/destroy domains/update draft_orders/create draft_orders/delete
    draft_orders/update fulfillment_events/create fulfillment_events/delete fulfillment_orders/cancelled
    fulfillment_orders/moved fulfillment_orders/placed_on_hold fulfillments/create fulfillments/update
    inventory_items/create inventory_items/delete inventory_items/update inventory_levels/connect
    inventory_levels/disconnect inventory_levels/update locations/activate locations/create
    locations/deactivate locations/delete locations/update markets/create markets/delete markets/update
    metafield_definitions/create metafield_definitions/delete metafield_definitions/update metaobjects/create
    metaobjects/delete metaobjects/update order_transactions/create orders/cancelled orders/create orders/delete
    orders/edited orders/fulfilled orders/paid orders/partially_fulfilled orders/updated product_feeds/create
    product_listings/add product_listings/remove product_listings/update products/create products/delete
    products/update profiles/create profiles/delete profiles/update refunds/create returns/approve
    returns/cancel returns/close returns/decline returns/request returns/update shop/redact shop/update
    subscription_billing_attempts/failure subscription_billing_attempts/success subscription_contracts/create
    subscription_contracts/update tender_transactions/create themes/create themes/delete themes/publish
    themes/update variants/in_stock variants/out_of_stock customer product
    """.split()  # noqa: SIM905 - a list would be quotes and commas first
)


class TopicMeters:
    """The counters of one topic and header family, looked up once."""

    def __init__(self, topic: str, family: str) -> None:
        self.received = RECEIVED.labels(topic, family)
        self.accepted = ACCEPTED.labels(topic, family)
        self.duplicate = DUPLICATE.labels(topic, family)
        self.trigger_to_receipt = TRIGGER_TO_RECEIPT.labels(topic)
        self.last_accepted = LAST_ACCEPTED.labels(topic)


def topic_label(topic: str | None) -> str:
    """The label of a topic as a header gave it; unknown ones share `other`."""
    known = (topic or "").lower()
    return known if known in KNOWN_TOPICS else OTHER


def meters(topic: str | None, family: Format) -> TopicMeters:
    """The counters for a topic as a header gave it."""
    return _meters(topic_label(topic), is_next=family is Format.NEXT)


@lru_cache(maxsize=4 * len(KNOWN_TOPICS))
def _meters(topic: str, *, is_next: bool) -> TopicMeters:
    return TopicMeters(topic, (Format.NEXT if is_next else Format.CLASSIC).value)
