import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from libs.common.shopify.shop_domain import MAX_LENGTH, InvalidShopDomain, shop_domain

names = st.from_regex(r"[a-zA-Z0-9][a-zA-Z0-9-]{0,60}", fullmatch=True)


@given(name=names, before=st.sampled_from(["", " ", "\t"]), after=st.sampled_from(["", " ", "\n"]))
def test_every_shop_has_one_spelling(name: str, before: str, after: str) -> None:
    domain = shop_domain(f"{before}{name}.MyShopify.com{after}")
    assert domain == f"{name.lower()}.myshopify.com"
    assert shop_domain(domain) == domain


@given(st.text())
def test_anything_else_is_refused_and_nothing_else_is_raised(text: str) -> None:
    try:
        domain = shop_domain(text)
    except InvalidShopDomain:
        return
    assert re.fullmatch(r"[a-z0-9][a-z0-9-]*\.myshopify\.com", domain)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "myshopify.com",
        ".myshopify.com",
        "-a.myshopify.com",
        "a_b.myshopify.com",
        "a.b.myshopify.com",
        "shop.myshopify.com.evil.com",
        "shop.myshopify.com/admin",
        "shop.myshopify.com:443",
        "https://shop.myshopify.com",
        "evil.com/shop.myshopify.com",
        "evil.com?shop.myshopify.com",
        "user@shop.myshopify.com",
        "shop.myshopify.comx",
        "shopXmyshopify.com",
        "shop.shopify.com",
        "shop.myshopify.io",
        "admin.shopify.com/store/shop",
        "shop.myshopify.com\nevil.com",
        "shop.myshopify.com\0",
        "shop\0.myshopify.com",
        "\u212aiosk.myshopify.com",  # the Kelvin sign, whose lower case is a plain k
        "sh\u00f6p.myshopify.com",
        "{shop}.myshopify.com",
        "a" * (MAX_LENGTH - len(".myshopify.com") + 1) + ".myshopify.com",
    ],
)
def test_what_only_looks_like_a_shop_is_refused(text: str) -> None:
    with pytest.raises(InvalidShopDomain):
        shop_domain(text)


def test_the_longest_domain_passes() -> None:
    longest = "a" * (MAX_LENGTH - len(".myshopify.com")) + ".myshopify.com"
    assert shop_domain(longest) == longest
