"""Where a browser may be sent to, and who may show the app in a frame."""

from base64 import b64encode
from urllib.parse import parse_qs, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from libs.common.shopify import csp
from libs.common.shopify.addresses import APP_BRIDGE, Addresses, admin_handle, decoded_host
from libs.common.shopify.scopes import Scopes

SHOP = "sandbox-001.myshopify.com"
SHOPIFY = Addresses()
SANDBOX = Addresses("http://127.0.0.1:8080/sandbox")


def host(text: str) -> str:
    """The parameter as Shopify sends it: without padding."""
    return b64encode(text.encode()).decode().rstrip("=")


@given(handle=st.from_regex(r"[a-z0-9][a-z0-9-]{0,40}", fullmatch=True), padded=st.booleans())
def test_follows_both_forms_that_shopify_gives_out(handle: str, padded: bool) -> None:
    for place in (f"admin.shopify.com/store/{handle}", f"{handle}.myshopify.com/admin"):
        given_host = b64encode(place.encode()).decode() if padded else host(place)
        assert admin_handle(given_host) == handle
        assert SHOPIFY.embedded_app(given_host, "id") == f"https://{place}/apps/id"
        assert SANDBOX.embedded_app(given_host, "id") == (
            f"http://127.0.0.1:8080/sandbox/{handle}.myshopify.com/admin/apps/id"
        )


@pytest.mark.parametrize(
    "place",
    [
        "",
        "evil.com/admin",
        "evil.com/store/shop",
        "shop.myshopify.com.evil.com/admin",
        "evil.com/shop.myshopify.com/admin",
        "user@shop.myshopify.com/admin",
        "shop.myshopify.com:444/admin",
        "shop.myshopify.com/admin/../x",
        "shop.myshopify.com/admin?x=1",
        "shop.myshopify.com/admin#x",
        "shop.myshopify.com\\@evil.com/admin",
        "shop.myshopify.com/admin\n",
        "https://shop.myshopify.com/admin",
        "//evil.com/admin",
        "admin.shopify.com/store/",
        "admin.shopify.com/store/a/b",
        "admin.shopify.com/store/..",
        "\u212a.myshopify.com/admin",
        "evil.shopify.com/store/shop",
    ],
)
def test_sends_nobody_anywhere_else(place: str) -> None:
    assert SHOPIFY.embedded_app(host(place), "id") is None
    assert SANDBOX.embedded_app(host(place), "id") is None


@given(st.text() | st.binary().map(lambda raw: b64encode(raw).decode()))
def test_whatever_host_holds_nothing_is_raised(text: str) -> None:
    decoded = decoded_host(text)
    assert decoded is None or decoded.isascii()
    found = SHOPIFY.embedded_app(text, "id")
    assert found is None or urlsplit(found).hostname in {
        "admin.shopify.com",
        f"{admin_handle(text)}.myshopify.com",
    }


def test_asks_the_merchant_with_every_parameter() -> None:
    address = SHOPIFY.consent(
        SHOP,
        client_id="id",
        scopes=Scopes.parse("read_a,write_b"),
        redirect_uri="https://app/cb?x=1",
        state="ab",
    )
    parts = urlsplit(address)
    assert (parts.scheme, parts.netloc, parts.path) == ("https", SHOP, "/admin/oauth/authorize")
    assert parse_qs(parts.query) == {
        "client_id": ["id"],
        "scope": ["read_a,write_b"],
        "redirect_uri": ["https://app/cb?x=1"],
        "state": ["ab"],
    }


def test_leaves_scopes_to_the_apps_configuration_and_asks_for_online_access_by_name() -> None:
    address = SANDBOX.consent(
        SHOP, client_id="id", scopes=Scopes(), redirect_uri="https://app/cb", state="ab", online=True
    )
    assert address.startswith(f"http://127.0.0.1:8080/sandbox/{SHOP}/admin/oauth/authorize?")
    query = parse_qs(urlsplit(address).query)
    assert "scope" not in query
    assert query["grant_options[]"] == ["per-user"]


def test_the_sandbox_stands_in_for_everything() -> None:
    assert SHOPIFY.token_endpoint(SHOP) == f"https://{SHOP}/admin/oauth/access_token"
    assert SANDBOX.token_endpoint(SHOP) == f"http://127.0.0.1:8080/sandbox/{SHOP}/admin/oauth/access_token"
    assert SHOPIFY.app_bridge == APP_BRIDGE
    assert SANDBOX.app_bridge == "http://127.0.0.1:8080/sandbox/app-bridge.js"


def test_only_the_shops_own_admin_shows_its_pages() -> None:
    assert csp.framed_by(SHOPIFY.frame_ancestors(SHOP)) == {
        "Content-Security-Policy": f"frame-ancestors https://{SHOP} https://admin.shopify.com;"
    }
    assert csp.framed_by(SANDBOX.frame_ancestors(SHOP)) == {
        "Content-Security-Policy": "frame-ancestors http://127.0.0.1:8080;"
    }
    assert csp.NOT_FRAMED == {"Content-Security-Policy": "frame-ancestors 'none';"}
