"""What is taken out of events before they are stored, and what stays."""

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.ingest.cleaning import Cleaner, clean_locations, clean_title, clean_url, suspicious

SECRET = "s3cr3tv4lue"
SECRETS = [
    f"https://a.com/?token={SECRET}",
    f"https://a.com/?access_token={SECRET}&page=2",
    f"https://a.com/?page=2&ID_TOKEN={SECRET}#top",
    f"https://a.com/#access_token={SECRET}",
    f"https://a.com/?checkout%5Bemail%5D={SECRET}",
    f"https://a.com/?checkout[email]={SECRET}",
    f"https://a.com/?customerEmail={SECRET}",
    f"?code={SECRET}",
    f"https://a.com/?state=1&code={SECRET}",
    f"https://a.com/?hmac={SECRET}",
    f"https://a.com/?password={SECRET}&next=/",
    f"/cart?phone={SECRET}",
    f"https://a.com/?a=1;session={SECRET}",
]
ADDRESSES = [
    "https://a.com/?q=jane.doe@example.com",
    "https://a.com/?q=jane.doe%40example.com&x=1",
    "https://a.com/unsubscribe/jane.doe@example.com/now",
    "mailto:jane.doe@example.com",
]
PATHS = [
    "https://a.com/checkouts/cn/c1-da3335b5daea35f97157d14129d5627f/post-purchase",
    "https://a.com/checkouts/da3335b5daea35f97157d14129d5627f",
    "https://a.com/123/orders/da3335b5daea35f97157d14129d5627f/authenticate",
    "https://a.com/account/activate/1/da3335b5daea35f97157d14129d5627f",
    "/cart/c/da3335b5daea35f97157d14129d5627f",
]
HARMLESS = [
    "https://a.com/products/blue-mug?variant=43751530397931&utm_source=mail&utm_campaign=x",
    "https://a.com/search?q=mugs&page=2&sort_by=price",
    "https://cdn.shopify.com/s/files/1/0659/0811/3643/products/navy-blue-chakra-bracelet_64x64.jpg?v=1675930747",
    "https://a.com/?gclid=Cj0KCQjw&fbclid=IwAR0",
    "https://a.com/collections/all?hotel=1&monkey=2&zipped=3&barcode=4",
    "/products/orders-of-magnitude-puzzle-for-two-people",
    "",
]  # fmt: skip


@pytest.mark.parametrize("url", SECRETS)
def test_secrets_leave_a_url(url: str) -> None:
    assert SECRET not in clean_url(url)
    assert clean_url(url).partition("[removed]")[0] == url.partition(SECRET)[0]


@pytest.mark.parametrize("url", ADDRESSES)
def test_addresses_leave_a_url(url: str) -> None:
    assert "jane" not in clean_url(url)
    assert "example.com" not in clean_url(url)


@pytest.mark.parametrize("url", PATHS)
def test_what_opens_a_checkout_or_an_order_leaves_a_path(url: str) -> None:
    assert "da3335b5daea35f97157d14129d5627f" not in clean_url(url)


@pytest.mark.parametrize("url", HARMLESS)
def test_what_is_harmless_stays(url: str) -> None:
    assert clean_url(url) == url


@pytest.mark.parametrize("url", [*SECRETS, *ADDRESSES, *PATHS, *HARMLESS])
def test_cleaning_twice_is_cleaning_once(url: str) -> None:
    assert clean_url(clean_url(url)) == clean_url(url)


@pytest.mark.parametrize("url", [*SECRETS, *ADDRESSES])
def test_an_event_with_something_to_take_out_is_looked_through(url: str) -> None:
    assert suspicious(orjson.dumps({"data": {"link": url}}))


@pytest.mark.parametrize("url", HARMLESS)
def test_an_event_without_is_not(url: str) -> None:
    assert not suspicious(orjson.dumps({"data": {"link": url}}))


def test_titles_lose_their_markup() -> None:
    assert clean_title("<b>Blue</b> mug <script>alert(1)</script>") == "Blue mug alert(1)"
    assert clean_title("2 < 3") == "2 3"


def test_everything_in_an_event_is_looked_through() -> None:
    event = {
        "data": {
            "list": [{"title": "<i>a</i>"}, f"https://a.com/?token={SECRET}"],
            "note\0": "a\0b\ud800",
            "number": 1.5,
        }
    }
    cleaner = Cleaner(100)
    assert cleaner.clean(event) == {
        "data": {
            "list": [{"title": "a"}, "https://a.com/?token=[removed]"],
            "note\ufffd": "a\ufffdb\ufffd",
            "number": 1.5,
        }
    }
    assert cleaner.changed
    assert not cleaner.too_long


def test_a_text_that_is_too_long_is_told() -> None:
    cleaner = Cleaner(10)
    cleaner.clean({"a": ["x" * 11]})
    assert cleaner.too_long


def test_locations_are_cleaned_in_place() -> None:
    context = {
        "document": {
            "location": {"href": f"https://a.com/?token={SECRET}", "host": "a.com"},
            "referrer": "/?otp=1",
        },
        "window": {"location": {"search": f"?token={SECRET}"}},
    }
    assert clean_locations(context)
    assert SECRET not in str(context)
    assert context["document"]["referrer"] == "/?otp=[removed]"  # type: ignore[index]
    assert not clean_locations({"document": {"location": 7}, "window": None})


@given(st.text(max_size=200))
def test_no_url_makes_cleaning_fail(url: str) -> None:
    assert clean_url(clean_url(url)) == clean_url(url)
