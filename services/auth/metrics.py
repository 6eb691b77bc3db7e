"""Every metric of services/auth, with kind, unit and meaning."""

from prometheus_client import Counter, Gauge, Histogram

INSTALLS = Counter(
    "auth_installs_total",
    "Grants that were kept, by how: code, exchange; and whether the install was new.",
    ["grant", "new"],
)
UNINSTALLS = Counter(
    "auth_uninstalls_total", "Uninstalls by what they meant: ended, replaced, earlier, unknown.", ["meaning"]
)
REFUSED = Counter(
    "auth_refused_total", "Installs and calls of browsers that were turned away, by cause.", ["reason"]
)
VERIFIED = Counter(
    "auth_verified_total",
    "Signatures of queries checked, by the secret that made them: current, old, none.",
    ["key"],
)
ASKED = Counter(
    "auth_token_requests_total",
    "Requests to Shopify's token endpoint by grant and outcome: granted, refused, unsettled, misconfigured.",
    ["grant", "outcome"],
)
ASKED_SECONDS = Histogram(
    "auth_token_request_seconds",
    "From asking Shopify's token endpoint to its answer.",
    ["grant"],
    buckets=(0.05, 0.1, 0.25, 0.5, 1, 2, 3, 5, 10),
)
ASSUMED_EXPIRY = Counter(
    "auth_assumed_expiry_total",
    "Granted tokens whose answer named no expiry, so that the shortest was assumed.",
)
SERVED = Counter(
    "auth_tokens_served_total",
    "Answers to services that asked for a token: stored, renewed, not_installed, needs_authorization, try_later.",
    ["result"],
)
SWEPT = Counter(
    "auth_swept_total", "Rows that sweeps dealt with: states, online (deleted), idle (renewed).", ["kind"]
)
SESSIONS = Gauge(
    "auth_sessions",
    "Sessions by kind (offline, online) and state (live, expired, refused).",
    ["kind", "state"],
)
MINTED = Gauge(
    "auth_minted_sessions",
    "Sessions that Shopify has not refused, by whether SHOPIFY_API_SECRET made their token: current, other.",
    ["secret"],
)
SEALED = Gauge(
    "auth_sealed_sessions", "Sessions by whether the first key of TOKEN_KEYS sealed them.", ["key"]
)
