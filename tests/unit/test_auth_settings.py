"""Times of auth that cannot go together stop the start and are named."""

from base64 import b64encode

import pytest

from libs.common.errors import ConfigurationError
from services.auth.config import Settings


def load(**changes: object) -> Settings:
    return Settings.load(
        shopify_api_key="key", shopify_api_secret="hush", token_keys=b64encode(bytes(32)).decode(),
        service_key="a key of all services", ops_token="ops", **changes,
    )  # fmt: skip


def test_the_times_of_auth_go_together() -> None:
    assert load().token_lock_seconds > 2 * load().shopify_timeout_seconds
    assert load(shopify_timeout_seconds=14.9, token_lock_seconds=30).token_lock_seconds == 30


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"token_lock_seconds": 10}, "TOKEN_LOCK_SECONDS: .*more than twice"),
        ({"shopify_timeout_seconds": 8}, "TOKEN_LOCK_SECONDS: .*more than twice"),
        ({"shopify_timeout_seconds": 15, "token_lock_seconds": 60}, "SHOPIFY_TIMEOUT_SECONDS: .*below 15"),
    ],
)
def test_a_turn_that_ends_before_shopify_answers_stops_the_start(
    changes: dict[str, object], named: str
) -> None:
    with pytest.raises(ConfigurationError, match=named):
        load(**changes)
