"""Shopify's rules for codes and tokens as the sandbox plays them (SHOPIFY 1.3, 2.1 to 2.6)."""

import hmac
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from secrets import token_hex
from typing import Any

from libs.common.clock import Clock
from libs.common.errors import ShopbusError
from libs.common.shopify.access_tokens import AppCredentials
from libs.common.shopify.session_token import InvalidSessionToken, SessionToken, SessionTokenVerifier
from services.sandbox.ledger import Access, Code, Ledger, Migrated, Pair, Store

CODE_SECONDS = 300
ACCESS_SECONDS = 3_600
ONLINE_SECONDS = 86_399
REFRESH_SECONDS = 7_776_000
RETRY_SECONDS = 30 * 86_400  # after its first use a refresh token is good for another try at most so long
MIGRATION_RETRY_SECONDS = 7 * 86_400
EXCHANGE = "urn:ietf:params:oauth:grant-type:token-exchange"
OFFLINE = "urn:shopify:params:oauth:token-type:offline-access-token"
ONLINE = "urn:shopify:params:oauth:token-type:online-access-token"
ID_TOKEN = "urn:ietf:params:oauth:token-type:id_token"  # noqa: S105 - a name of the standard

Json = dict[str, Any]


class Denied(ShopbusError):
    """What the token endpoint answers with instead of a token."""

    def __init__(self, status: int, error: str, description: str) -> None:
        super().__init__(description)
        self.status = status
        self.error = error
        self.description = description


@dataclass(frozen=True, slots=True)
class Grants:
    """Gives out codes and tokens to one app, and ends them."""

    app: AppCredentials
    ledger: Ledger
    clock: Clock
    new_text: Callable[[], str] = token_hex

    def install(self, shop: str, scopes: str, user: int | None = None) -> str:
        """The merchant said yes: the code for the app's callback."""
        store, code = self.ledger.store(shop), self.new_text()
        store.codes[code] = Code(scopes, self._now() + CODE_SECONDS, user)
        store.installed, store.scopes = True, scopes
        self.ledger.save()
        return code

    def uninstall(self, shop: str) -> bool:
        """Ends everything at once; whether there was anything."""
        was_installed = self.ledger.look(shop).installed
        self.ledger.stores.pop(shop, None)
        self.ledger.save()
        return was_installed

    def allowed(self, shop: str, access_token: str) -> str | None:
        """The scopes that a token gives now; None where Shopify would answer 401."""
        found = self.ledger.look(shop).access.get(access_token)
        if found is None or (found.expires_at is not None and found.expires_at <= self._now()):
            return None
        return found.scopes

    def answer(self, shop: str, form: Mapping[str, str]) -> Json:
        """What the token endpoint gives for a form; raises `Denied`."""
        self._know(form)
        store = self.ledger.look(shop)
        if not store.installed:
            raise Denied(401, "invalid_client", "The app is not installed on this shop")
        try:
            return self._granted(shop, store, form)
        finally:
            self._forget_old(store)
            self.ledger.save()

    def _granted(self, shop: str, store: Store, form: Mapping[str, str]) -> Json:
        match form.get("grant_type"), form.get("subject_token_type"):
            case None, _:
                return self._by_code(store, form)
            case "refresh_token", _:
                return self._refresh(store, form.get("refresh_token", ""))
            case grant, kind if (grant, kind) == (EXCHANGE, ID_TOKEN):
                return self._exchange(shop, store, form)
            case grant, kind if (grant, kind) == (EXCHANGE, OFFLINE):
                return self._migrate(store, form.get("subject_token", ""))
        raise Denied(400, "unsupported_grant_type", "The grant type is not supported")

    def _know(self, form: Mapping[str, str]) -> None:
        shown = f"{form.get('client_id')}\n{form.get('client_secret')}".encode()
        if not hmac.compare_digest(shown, f"{self.app.client_id}\n{self.app.client_secret}".encode()):
            raise Denied(401, "invalid_client", "The client is not known by these credentials")

    def _by_code(self, store: Store, form: Mapping[str, str]) -> Json:
        code = store.codes.get(form.get("code", ""))
        if code is None or code.used or code.expires_at <= self._now():
            raise Denied(400, "invalid_request", "The authorization code was not found or was already used")
        code.used = True
        if code.user is not None:
            return self._online(store, code.user, code.scopes)
        if form.get("expiring") in {"1", "true"}:
            return self._shown(self._acquire(store, code.scopes))
        token = self._new_access(store, Access(code.scopes, None))
        return {"access_token": token, "scope": code.scopes}

    def _exchange(self, shop: str, store: Store, form: Mapping[str, str]) -> Json:
        token = self._session_token(shop, form.get("subject_token", ""))
        if form.get("requested_token_type", OFFLINE) == ONLINE:
            if token.user_id is None:
                raise Denied(400, "invalid_subject_token", "The session token names no user")
            return self._online(store, token.user_id, store.scopes)
        if form.get("expiring") in {"1", "true"}:
            return self._shown(self._acquire(store, store.scopes))
        access = self._new_access(store, Access(store.scopes, None))
        return {"access_token": access, "scope": store.scopes}

    def _session_token(self, shop: str, text: str) -> SessionToken:
        verifier = SessionTokenVerifier(self.app.client_id, self.app.client_secret)
        try:
            token = verifier.read(text, self.clock.now())
        except InvalidSessionToken as error:
            raise Denied(400, "invalid_subject_token", error.detail) from error
        if token.shop != shop or not token.of_admin:
            raise Denied(400, "invalid_subject_token", "The session token is not one of this shop's admin")
        return token

    def _migrate(self, store: Store, text: str) -> Json:
        """A token without an end becomes a pair for good; asked again within a week, the same pair is given."""
        known = store.migrated
        untouched = store.current is not None and store.previous is None
        if known is not None and known.access_token == text and known.until > self._now() and untouched:
            return self._shown(store.current)
        access = store.access.get(text)
        if access is None or access.expires_at is not None or access.user is not None:
            raise Denied(400, "invalid_subject_token", "The subject token is no token without expiry")
        pair = self._acquire(store, access.scopes)
        del store.access[text]
        store.migrated = Migrated(text, self._now() + MIGRATION_RETRY_SECONDS)
        return self._shown(pair)

    def _refresh(self, store: Store, text: str) -> Json:
        """Turns a refresh token into the next pair. The last one is good for another try while that pair is unused."""
        now, current, previous = self._now(), store.current, store.previous
        if current is not None and current.refresh_token == text and current.refresh_expires_at > now:
            current.first_used_at = now
            store.previous, store.current = current, self._new_pair(store, current.scopes)
            return self._shown(store.current)
        if current is not None and previous is not None and previous.refresh_token == text:
            until = min((previous.first_used_at or now) + RETRY_SECONDS, previous.refresh_expires_at)
            if until > now:
                return self._shown(self._renewed(store, current))
        raise Denied(401, "invalid_request", "This request requires an active refresh_token")

    def _renewed(self, store: Store, pair: Pair) -> Pair:
        """The pair, with another access token where its own has ended unseen."""
        if pair.expires_at <= self._now():
            pair.expires_at = self._now() + ACCESS_SECONDS
            pair.access_token = self._new_access(store, Access(pair.scopes, pair.expires_at))
        return pair

    def _acquire(self, store: Store, scopes: str) -> Pair:
        """A pair from nowhere: it retires every older refresh token at once; older access tokens run out."""
        store.previous, store.migrated = None, None
        store.current = self._new_pair(store, scopes)
        return store.current

    def _new_pair(self, store: Store, scopes: str) -> Pair:
        now = self._now()
        access = self._new_access(store, Access(scopes, now + ACCESS_SECONDS))
        return Pair(access, f"shprt_{self.new_text()}", scopes, now + ACCESS_SECONDS, now + REFRESH_SECONDS)

    def _online(self, store: Store, user: int, scopes: str) -> Json:
        token = self._new_access(store, Access(scopes, self._now() + ONLINE_SECONDS, user))
        return {
            "access_token": token,
            "scope": scopes,
            "expires_in": ONLINE_SECONDS,
            "associated_user_scope": scopes,
            "associated_user": staff(user),
        }

    def _new_access(self, store: Store, access: Access) -> str:
        token = f"{'shpua' if access.user is not None else 'shpat'}_{self.new_text()}"
        store.access[token] = access
        return token

    def _shown(self, pair: Pair | None) -> Json:
        if pair is None:
            raise Denied(400, "invalid_request", "There is no token")
        now = self._now()
        return {
            "access_token": pair.access_token,
            "scope": pair.scopes,
            "expires_in": round(pair.expires_at - now),
            "refresh_token": pair.refresh_token,
            "refresh_token_expires_in": round(pair.refresh_expires_at - now),
        }

    def _forget_old(self, store: Store) -> None:
        now = self._now()
        store.codes = {text: code for text, code in store.codes.items() if code.expires_at > now}
        store.access = {
            text: access
            for text, access in store.access.items()
            if access.expires_at is None or access.expires_at > now
        }

    def _now(self) -> float:
        return self.clock.now().timestamp()


def staff(user: int) -> Json:
    """The member of staff who plays the merchant."""
    return {
        "id": user,
        "first_name": "Sandy",
        "last_name": "Box",
        "email": "sandy@example.com",
        "email_verified": True,
        "account_owner": True,
        "locale": "en",
        "collaborator": False,
    }
