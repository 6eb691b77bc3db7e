"""Shopify's own Python library as a second opinion: the same verdict on random requests, or a reason why not.

It has no check for the signed queries of launch and callback, so tests/unit/test_launch.py has the documented examples
instead.
"""

import time
from datetime import UTC, datetime
from typing import Any

import jwt
from aiohttp import web
from aiohttp.test_utils import make_mocked_request
from hypothesis import given
from hypothesis import strategies as st
from shopify_app.types import AppConfig, RequestInput
from shopify_app.verify.app_home_req import verify_app_home_req
from shopify_app.verify.webhook import verify_webhook_req

from libs.common.shopify.addresses import Addresses
from libs.common.shopify.session_token import InvalidSessionToken, SessionTokenVerifier, TokenFlaw
from libs.common.shopify.signatures import Signer, WebhookVerifier, webhook_signature
from libs.common.web import Problem
from libs.common.web_session import SessionGuard, caller
from tests.clocks import TurnedClock
from tests.session_tokens import CLIENT_ID, OLD_SECRET, SECRET, SHOP, session_token

CONFIG: AppConfig = {"client_id": CLIENT_ID, "client_secret": SECRET, "old_client_secret": OLD_SECRET}
STRANGE_SECRET = "shpss_" + "9" * 32

STRICTER = {TokenFlaw.ISSUER, TokenFlaw.SHOP}
"""The library compares neither iss with dest nor dest with a shop's domain: it takes the tenant from any text."""

secrets = st.sampled_from([SECRET, SECRET, SECRET, OLD_SECRET, STRANGE_SECRET])
# Not within two seconds of the leeway: the library asks the machine's clock, which goes on between the two.
offsets = st.integers(-600, 600).filter(lambda seconds: abs(abs(seconds) - 10) > 2)
changes = st.fixed_dictionaries(
    {},
    optional={
        "aud": st.sampled_from(["other", "", CLIENT_ID]),
        "dest": st.sampled_from(["https://evil.com", f"https://{SHOP}", "https://other.myshopify.com", SHOP]),
        "iss": st.sampled_from([f"https://{SHOP}/admin", "https://other.myshopify.com/admin"]),
        "sub": st.sampled_from(["42", "gid://shopify/Customer/1"]),
    },
)


def theirs(token: str) -> bool:
    request: RequestInput = {
        "method": "GET",
        "url": "https://app.example.com/api",
        "headers": {"Authorization": f"Bearer {token}"},
        "body": "",
    }
    return bool(verify_app_home_req(request, CONFIG, "/auth/bounce").ok)


def ours(token: str, now: datetime) -> TokenFlaw | None:
    try:
        SessionTokenVerifier(CLIENT_ID, SECRET, OLD_SECRET).read(token, now)
    except InvalidSessionToken as error:
        return error.flaw
    return None


@given(secret=secrets, exp=offsets, nbf=offsets, other=changes)
def test_session_tokens(secret: str, exp: int, nbf: int, other: dict[str, Any]) -> None:
    moment = int(time.time())
    now = datetime.fromtimestamp(moment, UTC)
    token = session_token(secret, now=now, exp=moment + exp, nbf=moment + nbf, iat=moment - 700, **other)
    flaw = ours(token, now)
    assert (flaw is None or flaw in STRICTER) is theirs(token)


@given(token=st.text(st.characters(codec="ascii"), max_size=40) | st.just(session_token(exp=1)))
def test_what_is_no_session_token(token: str) -> None:
    assert ours(token, datetime.now(UTC)) is not None
    assert not theirs(token)


@given(place=st.integers(0, 10**6), letter=st.sampled_from("AZaz09-_."))
def test_damaged_session_tokens(place: int, letter: str) -> None:
    now = datetime.now(UTC)
    token = session_token(now=now, iat=int(now.timestamp()) - 5, nbf=int(now.timestamp()) - 5)
    damaged = token[: (at := place % len(token))] + letter + token[at + 1 :]
    assert (ours(damaged, now) is None) is theirs(damaged)


async def a_page(request: web.Request) -> web.Response:
    return web.Response(text=caller(request).shop)


async def our_page(query: str, now: datetime) -> tuple[int, str | None]:
    """The status of a page opened with this query, and who may frame it."""
    verifier = SessionTokenVerifier(CLIENT_ID, SECRET, OLD_SECRET)
    guard = SessionGuard(verifier, Addresses(), CLIENT_ID, "https://app.example.com", TurnedClock(now))
    try:
        response = await guard.page(a_page)(make_mocked_request("GET", f"/app?{query}"))
    except web.HTTPFound:
        return 302, None
    except Problem as problem:
        return problem.status, None
    return response.status, response.headers["Content-Security-Policy"]


def their_page(query: str) -> tuple[int, str | None]:
    request: RequestInput = {
        "method": "GET",
        "url": f"https://app.example.com/app?{query}",
        "headers": {},
        "body": "",
    }
    response = verify_app_home_req(request, CONFIG, "/auth/bounce").response
    return response.status, response.headers.get("Content-Security-Policy")


@given(
    secret=secrets,
    exp=offsets,
    aud=st.sampled_from([CLIENT_ID, CLIENT_ID, "other"]),
    given_token=st.booleans(),
)
async def test_pages(secret: str, exp: int, aud: str, given_token: bool) -> None:
    moment = int(time.time())
    now = datetime.fromtimestamp(moment, UTC)
    token = session_token(secret, now=now, exp=moment + exp, nbf=moment - 700, iat=moment - 700, aud=aud)
    query = f"shop={SHOP}&id_token={token}" if given_token else f"shop={SHOP}"
    assert await our_page(query, now) == their_page(query)


def test_other_ways_to_sign_a_token() -> None:
    now = datetime.now(UTC)
    claims = jwt.decode(session_token(now=now), options={"verify_signature": False})
    for algorithm, key in (("HS384", SECRET * 2), ("HS512", SECRET * 2), ("none", "")):
        token = jwt.encode(claims, key, algorithm=algorithm)
        assert ours(token, now) is TokenFlaw.MALFORMED
        assert not theirs(token)


@given(
    body=st.text(st.characters(codec="utf-8")), signed=st.text(st.characters(codec="utf-8")), secret=secrets
)
def test_webhooks(body: str, signed: str, secret: str) -> None:
    """Bodies are text here and signatures ASCII: the library fails on others, where a verdict is wanted."""
    for content in (body, signed):
        signature = webhook_signature(secret, content.encode())
        request: RequestInput = {
            "method": "POST",
            "url": "https://app.example.com/webhooks/shopify",
            "headers": {"X-Shopify-Hmac-Sha256": signature, "X-Shopify-Shop-Domain": SHOP},
            "body": body,
        }
        verdict = WebhookVerifier(SECRET, OLD_SECRET).signer(body.encode(), signature)
        assert (verdict is not Signer.NONE) is bool(verify_webhook_req(request, CONFIG).ok)
