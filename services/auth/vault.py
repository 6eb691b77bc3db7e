"""Sessions as they are kept: tokens sealed, each bound to its session and to what it is for."""

from dataclasses import dataclass, replace
from datetime import datetime

from libs.common.shopify.token_answers import Granted
from libs.common.token_box import TokenBox
from services.auth.store import Sealed


def offline_id(shop: str) -> str:
    """The name of a shop's offline session."""
    return f"offline_{shop}"


def online_id(shop: str, user_id: int) -> str:
    """The name of the session of one member of a shop's staff."""
    return f"{shop}_{user_id}"


@dataclass(frozen=True, slots=True)
class Vault:
    """Makes rows of sessions and reads them."""

    box: TokenBox
    secret_id: str | None = None  # of the client secret that tokens are got with

    def seal(self, shop: str, granted: Granted, *, generation: int, at: datetime) -> Sealed:
        """The session that a grant makes; online where it is for a user."""
        user = granted.user
        name = offline_id(shop) if user is None else online_id(shop, user.id)
        access, refresh = self._seal(name, granted)
        return Sealed(
            id=name, shop=shop, user_id=user.id if user else None, generation=generation,
            scopes=str(user.scopes if user else granted.scopes), key_id=self.box.key_id,
            access_token=access, refresh_token=refresh, expires_at=granted.expires_at,
            refresh_expires_at=granted.refresh_expires_at, granted_at=at, renewed_at=at, secret_id=self.secret_id,
        )  # fmt: skip

    def renewed(self, held: Sealed, granted: Granted, *, at: datetime) -> Sealed:
        """The session with the pair that took the place of its own."""
        access, refresh = self._seal(held.id, granted)
        return replace(
            held, key_id=self.box.key_id, access_token=access, refresh_token=refresh, expires_at=granted.expires_at,
            refresh_expires_at=granted.refresh_expires_at, renewed_at=at, refused_at=None,
            scopes=str(granted.scopes) or held.scopes, secret_id=self.secret_id,
        )  # fmt: skip

    def resealed(self, held: Sealed) -> Sealed:
        """The same session under the first key."""
        access, refresh = self.access_token(held), self.refresh_token(held)
        return replace(
            held, key_id=self.box.key_id, access_token=self.box.seal(access, _place("access", held.id)),
            refresh_token=None if refresh is None else self.box.seal(refresh, _place("refresh", held.id)),
        )  # fmt: skip

    def access_token(self, held: Sealed) -> str:
        """Raises `CannotOpen`."""
        return self.box.open(held.access_token, _place("access", held.id))

    def refresh_token(self, held: Sealed) -> str | None:
        """Raises `CannotOpen`."""
        return (
            None
            if held.refresh_token is None
            else self.box.open(held.refresh_token, _place("refresh", held.id))
        )

    def _seal(self, name: str, granted: Granted) -> tuple[bytes, bytes | None]:
        refresh = granted.refresh_token
        return (
            self.box.seal(granted.access_token, _place("access", name)),
            None if refresh is None else self.box.seal(refresh, _place("refresh", name)),
        )


def _place(kind: str, name: str) -> str:
    return f"{kind} {name}"
