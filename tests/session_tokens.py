"""Session tokens as App Bridge gives them out."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import jwt

CLIENT_ID = "c1" * 16
SECRET = "shpss_" + "5" * 32
OLD_SECRET = "shpss_" + "0" * 32
SHOP = "sandbox-001.myshopify.com"
NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)


def claims(*, shop: str = SHOP, now: datetime = NOW, **other: Any) -> dict[str, Any]:
    """What Shopify puts into a token of the admin, with some of it changed; None leaves a claim out."""
    usual = {
        "iss": f"https://{shop}/admin",
        "dest": f"https://{shop}",
        "aud": CLIENT_ID,
        "sub": "42",
        "exp": int((now + timedelta(seconds=60)).timestamp()),
        "nbf": int(now.timestamp()),
        "iat": int(now.timestamp()),
        "jti": "f8912129-1af6-4cad-9ca3-76b0f7621087",
        "sid": "aaea182f2732d44c23057c0fea584021a4485b2bd25d3eb7fd349313ad24c685",
        "sig": "f07cf3740270c17fb61c700b2f0f2e7f2f4ff8f5c7c2e8c9c3b1ba4a4a4a4a4a",
    }
    return {name: value for name, value in (usual | other).items() if value is not None}


def session_token(secret: str = SECRET, **changes: Any) -> str:
    """A signed token with these claims, also with some that no library would sign."""
    return signed(json.dumps(claims(**changes)).encode(), secret)


def signed(payload: bytes, secret: str = SECRET) -> str:
    """A token with this payload, whatever it is."""
    return jwt.api_jws.encode(payload, secret, algorithm="HS256")
