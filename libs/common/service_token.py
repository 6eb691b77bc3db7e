"""The short-lived proof with which one service calls another: a JWT signed with SERVICE_KEY."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import jwt
from pydantic import SecretStr

from libs.common.errors import ConfigurationError, ShopbusError

LIFE_SECONDS = 60
LEEWAY_SECONDS = 10
SHORTEST_KEY = 32  # bytes: HS256 is as strong as its key
_KIND = "shopbus-service+jwt"
_OWN_CHECKS: Any = {
    "verify_exp": False,
    "verify_nbf": False,
    "verify_iat": False,
    "require": ["exp", "iss", "aud"],
}


class InvalidServiceToken(ShopbusError):
    """A call that does not come from a service of this installation, or not just now."""


@dataclass(frozen=True, slots=True)
class ServiceKey:
    """What all services of an installation share. Making it refuses a key that could be guessed."""

    key: SecretStr

    def __post_init__(self) -> None:
        if len(self.key.get_secret_value().encode()) < SHORTEST_KEY:
            raise ConfigurationError(f"SERVICE_KEY is shorter than {SHORTEST_KEY} bytes")

    def mint(self, *, caller: str, audience: str, now: datetime) -> str:
        """A token that lets `caller` call `audience` for a minute."""
        claims = {"iss": caller, "aud": audience, "iat": now, "exp": now + timedelta(seconds=LIFE_SECONDS)}
        return jwt.encode(claims, self.key.get_secret_value(), algorithm="HS256", headers={"typ": _KIND})

    def caller(self, token: str, *, audience: str, now: datetime) -> str:
        """The service that calls `audience` with this token; raises `InvalidServiceToken`."""
        try:
            found = jwt.decode_complete(
                token,
                self.key.get_secret_value(),
                algorithms=["HS256"],
                audience=audience,
                options=_OWN_CHECKS,
            )
        except (jwt.InvalidTokenError, ValueError, RecursionError):
            raise InvalidServiceToken from None
        claims = found["payload"]
        if found["header"].get("typ") != _KIND or not _in_time(claims["exp"], now):
            raise InvalidServiceToken
        return str(claims["iss"])


def _in_time(expires: object, now: datetime) -> bool:
    """Whether a token is of now; one that lives longer than they are made to live is none of ours."""
    if isinstance(expires, bool) or not isinstance(expires, int | float):
        return False
    return -LEEWAY_SECONDS < expires - now.timestamp() <= LIFE_SECONDS + LEEWAY_SECONDS
