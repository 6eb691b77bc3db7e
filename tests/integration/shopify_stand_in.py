"""Plays the token endpoint of Shopify for tests: its rotation rules, and its bad days."""

import secrets
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

import jwt
from aiohttp import web

from tests.servers.ports import free_port

SECRET, KEY = "the client secret of the app under test", "test-app-key"
OFFLINE_SECONDS, REFRESH_SECONDS = 3_600, 7_776_000
Form = dict[str, str]
Mishap = Callable[[web.Request], Awaitable[web.StreamResponse | None]]


@dataclass
class Lineage:
    """The refreshable token of one shop: at any time one pair counts, and the refresh token that it came from."""

    access: str
    refresh: str
    shown: str | None = None  # the refresh token that made this pair; it works until the pair's own is used
    secret: str = SECRET  # that it was asked for with, and ends with


@dataclass
class StandIn:
    """What Shopify knows, and what it is to do wrong."""

    url: str
    codes: dict[str, str] = field(default_factory=dict)  # code → shop
    shops: dict[str, Lineage] = field(default_factory=dict)
    secrets: set[str] = field(default_factory=lambda: {SECRET})  # those that are not revoked
    installed: set[str] = field(default_factory=set)
    asked: Counter[str] = field(default_factory=Counter)
    issued: list[str] = field(default_factory=list)  # every token it ever made
    scope: str = "read_products,write_orders"
    user: dict[str, Any] | None = None  # answered with a code: what an online grant has
    omit: set[str] = field(default_factory=set)  # members left out of answers
    before: Mishap | None = None  # instead of doing it
    after: Mishap | None = None  # instead of saying that it was done

    def code(self, shop: str) -> str:
        """The merchant has consented."""
        code = secrets.token_hex(16)
        self.codes[code] = shop
        self.installed.add(shop)
        return code

    def uninstall(self, shop: str) -> None:
        """The merchant has removed the app: all tokens are dead."""
        self.installed.discard(shop)
        self.shops.pop(shop, None)

    def revoke(self, secret: str) -> None:
        """What was made with it ends."""
        self.secrets.discard(secret)
        self.shops = {shop: held for shop, held in self.shops.items() if held.secret != secret}

    async def answer(self, request: web.Request) -> web.StreamResponse:
        form = {name: str(value) for name, value in (await request.post()).items()}
        if self.before and (mishap := await self.before(request)) is not None:
            return mishap
        made = self._answer(request.match_info["shop"], form)
        if self.after and (mishap := await self.after(request)) is not None:
            return mishap
        return made

    def _answer(self, shop: str, form: Form) -> web.Response:
        kind = form.get("grant_type", "code").rpartition(":")[2]
        self.asked[kind] += 1
        if form.get("client_id") != KEY or form.get("client_secret") not in self.secrets:
            return _no(400, "invalid_client")
        if kind == "code":
            return (
                self._pair(shop, form["client_secret"])
                if self.codes.pop(form["code"], None) == shop
                else _no(400, "invalid_request")
            )
        if shop not in self.installed:
            return _no(401 if kind == "refresh_token" else 400, "invalid_request")
        return self._refresh(shop, form) if kind == "refresh_token" else self._exchange(shop, form)

    def _refresh(self, shop: str, form: Form) -> web.Response:
        known, shown = self.shops.get(shop), form["refresh_token"]
        if known is None or shown not in {known.refresh, known.shown}:
            return _no(401, "invalid_request", "This request requires an active refresh_token")
        return self._pair(shop, form["client_secret"], shown)

    def _exchange(self, shop: str, form: Form) -> web.Response:
        subject = form["subject_token"]
        if form["subject_token_type"].endswith("offline-access-token"):
            return self._pair(shop, form["client_secret"])
        claims = self._claims(subject)
        if claims is None:
            return _no(400, "invalid_subject_token")
        if form["requested_token_type"].endswith("online-access-token"):
            return self._online(int(claims["sub"]))
        return self._pair(shop, form["client_secret"])

    def _claims(self, subject: str) -> dict[str, Any] | None:
        """What a session token says, if a secret that is not revoked signed it."""
        for secret in self.secrets:
            with suppress(jwt.InvalidTokenError):
                return jwt.decode(subject, secret, algorithms=["HS256"], audience=KEY)
        return None

    def _pair(self, shop: str, secret: str = SECRET, shown: str | None = None) -> web.Response:
        lineage = Lineage(f"shpat_{secrets.token_hex(16)}", f"shprt_{secrets.token_hex(16)}", shown, secret)
        self.shops[shop] = lineage
        self.issued += [lineage.access, lineage.refresh]
        return self._yes(
            access_token=lineage.access, scope=self.scope, expires_in=OFFLINE_SECONDS, refresh_token=lineage.refresh,
            refresh_token_expires_in=REFRESH_SECONDS, **({"associated_user": self.user} if self.user else {}),
        )  # fmt: skip

    def _online(self, user: int) -> web.Response:
        token = f"shpua_{secrets.token_hex(16)}"
        self.issued.append(token)
        return self._yes(
            access_token=token, scope=self.scope, expires_in=86_399, associated_user_scope="read_products",
            associated_user={"id": user, "email": "someone@example.com", "email_verified": True},
        )  # fmt: skip

    def _yes(self, **members: Any) -> web.Response:
        return web.json_response({name: value for name, value in members.items() if name not in self.omit})


def _no(status: int, error: str, description: str = "") -> web.Response:
    return web.json_response({"error": error, "error_description": description}, status=status)


@asynccontextmanager
async def standing_in() -> AsyncIterator[StandIn]:
    """A stand-in that answers until the block ends."""
    port = free_port()
    shopify = StandIn(f"http://127.0.0.1:{port}/stores")
    app = web.Application()
    app.router.add_post("/stores/{shop}/admin/oauth/access_token", shopify.answer)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    try:
        yield shopify
    finally:
        await runner.cleanup()
