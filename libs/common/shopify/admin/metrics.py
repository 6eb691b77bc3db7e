"""Every metric of the Admin API client, with kind, unit and meaning. No label comes from outside."""

from prometheus_client import Counter, Gauge, Histogram

REQUESTS = Counter(
    "shopify_api_requests_total",
    "Requests to the Admin API, by name of the operation in the query (200 of them, then `other`) and what came of it: "
    "ok, partial, throttled, refused, postponed, faulty, no_answer, unauthorized.",
    ["operation", "status"],
)
SECONDS = Histogram(
    "shopify_api_request_duration_seconds",
    "One request to the Admin API, from sending to the whole answer.",
    buckets=(0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 20),
)
POINTS = Counter(
    "shopify_api_cost_points_total", "Points that Shopify says queries have used (actualQueryCost)."
)
THROTTLED = Counter(
    "shopify_api_throttled_total", "Requests that Shopify turned away: THROTTLED, or status 429."
)
WAITED = Histogram(
    "shopify_api_budget_wait_seconds",
    "How long calls waited for points of their shop, by lane; what went at once is not counted.",
    ["lane"],
    buckets=(0.01, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60),
)
POSTPONED = Counter(
    "shopify_api_postponed_total",
    "Calls sent away to come later, as their shop's points would not come in time.",
    ["lane"],
)
AVAILABLE = Gauge(
    "shopify_api_bucket_available_ratio",
    "The emptiest bucket of all shops called within the last minute: points available of the maximum, 0 to 1.",
)
LEASES = Counter(
    "shopify_api_budget_leases_total",
    "Times a process asked for points of a shop's budget: granted, not_yet, returned (only brought back), "
    "alone (Postgres is away).",
    ["result"],
)
CIRCUITS_OPENED = Counter(
    "shopify_api_circuits_opened_total",
    "Times a shop was left alone for a while because its API kept failing.",
)
DEPRECATED = Counter(
    "shopify_api_deprecated_total", "Answers that named something the query uses as deprecated."
)
FELL_FORWARD = Counter(
    "shopify_api_version_fell_forward_total",
    "Answers of another API version than SHOPIFY_API_VERSION, which Shopify gives where that one has retired.",
)
FROM_CACHE = Counter(
    "shopify_api_degraded_total", "Times an older answer was served because Shopify gave none."
)
