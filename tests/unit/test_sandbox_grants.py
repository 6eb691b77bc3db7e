"""Shopify's rules for tokens as the sandbox plays them; read back by the rules that auth goes by."""

from datetime import timedelta
from pathlib import Path

import orjson
import pytest
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from libs.common.errors import ConfigurationError
from libs.common.shopify.access_tokens import AppCredentials
from libs.common.shopify.scopes import Scopes
from libs.common.shopify.token_answers import Grant, Granted, Misconfigured, Outcome, Refused, read_answer
from services.sandbox.grants import Denied, Grants
from services.sandbox.ledger import Ledger
from tests.clocks import TurnedClock
from tests.session_tokens import CLIENT_ID, SECRET, SHOP, session_token

APP = AppCredentials(CLIENT_ID, SECRET)
DAY = 86_400.0


class Shopify:
    """The sandbox's rules, asked and read as auth does."""

    def __init__(self, path: Path | None = None) -> None:
        self.clock = TurnedClock()
        self.grants = Grants(APP, Ledger(path), self.clock)

    def ask(self, grant: Grant, form: dict[str, str]) -> Outcome:
        try:
            status, body = 200, self.grants.answer(SHOP, form)
        except Denied as denied:
            status, body = denied.status, {"error": denied.error, "error_description": denied.description}
        return read_answer(grant, status, {}, orjson.dumps(body), asked_at=self.clock.now())

    def installed(self, scopes: str = "read_orders") -> Granted:
        return granted(self.ask(Grant.CODE, APP.code(self.grants.install(SHOP, scopes))))

    def refreshed(self, token: str | None) -> Granted:
        return granted(self.ask(Grant.REFRESH, APP.refresh(token or "")))

    def exchange(self, *, online: bool = False) -> Outcome:
        token = session_token(now=self.clock.now())
        return self.ask(Grant.EXCHANGE, APP.exchange(token, online=online))

    def works(self, token: Granted) -> bool:
        return self.grants.allowed(SHOP, token.access_token) is not None

    def old_token(self) -> str:
        form = {
            key: value for key, value in APP.code(self.grants.install(SHOP, "a")).items() if key != "expiring"
        }
        answer = self.grants.answer(SHOP, form)
        assert answer.keys() == {"access_token", "scope"}
        return str(answer["access_token"])


def granted(outcome: Outcome) -> Granted:
    assert isinstance(outcome, Granted)
    return outcome


def test_a_code_is_good_once() -> None:
    shopify = Shopify()
    code = shopify.grants.install(SHOP, "write_orders")
    token = granted(shopify.ask(Grant.CODE, APP.code(code)))
    assert (str(token.scopes), token.expires_at) == ("write_orders", shopify.clock.now() + timedelta(hours=1))
    assert token.refresh_expires_at == shopify.clock.now() + timedelta(days=90)
    assert shopify.works(token)
    assert isinstance(shopify.ask(Grant.CODE, APP.code(code)), Refused)


def test_a_code_is_good_for_minutes() -> None:
    shopify = Shopify()
    code = shopify.grants.install(SHOP, "")
    shopify.clock.turn(301)
    assert isinstance(shopify.ask(Grant.CODE, APP.code(code)), Refused)


def test_online_access_is_for_the_user_who_asked() -> None:
    shopify = Shopify()
    token = granted(shopify.ask(Grant.CODE, APP.code(shopify.grants.install(SHOP, "a", user=7))))
    assert token.user is not None
    assert (token.user.id, token.refresh_token) == (7, None)
    exchanged = granted(shopify.exchange(online=True))
    assert exchanged.user is not None
    assert exchanged.user.id == 42


def test_nobody_else_gets_a_token() -> None:
    shopify = Shopify()
    assert isinstance(shopify.exchange(), Misconfigured)
    shopify.installed()
    for other in (AppCredentials(CLIENT_ID, "x"), AppCredentials("x", SECRET)):
        assert isinstance(shopify.ask(Grant.EXCHANGE, other.exchange(session_token())), Misconfigured)
    for text in ("x", session_token("y" * 32), session_token(exp=1), session_token(shop="b.myshopify.com")):
        assert isinstance(shopify.ask(Grant.EXCHANGE, APP.exchange(text)), Refused)
    with pytest.raises(Denied, match="grant type"):
        shopify.grants.answer(SHOP, APP.refresh("x") | {"grant_type": "password"})


def test_a_used_refresh_token_gives_the_same_pair_until_that_is_used() -> None:
    shopify = Shopify()
    first = shopify.installed()
    second = shopify.refreshed(first.refresh_token)
    assert shopify.refreshed(first.refresh_token) == second
    third = shopify.refreshed(second.refresh_token)
    assert isinstance(shopify.ask(Grant.REFRESH, APP.refresh(first.refresh_token or "")), Refused)
    assert len({first.refresh_token, second.refresh_token, third.refresh_token}) == 3
    assert all(shopify.works(token) for token in (first, second, third))


def test_a_used_refresh_token_is_good_for_thirty_days() -> None:
    shopify = Shopify()
    first = shopify.installed()
    second = shopify.refreshed(first.refresh_token)
    shopify.clock.turn(30 * DAY - 1)
    again = shopify.refreshed(first.refresh_token)
    assert again.refresh_token == second.refresh_token
    assert shopify.works(again)
    shopify.clock.turn(2)
    assert isinstance(shopify.ask(Grant.REFRESH, APP.refresh(first.refresh_token or "")), Refused)
    assert shopify.works(shopify.refreshed(second.refresh_token))


def test_a_refresh_token_ends_after_ninety_days_even_if_it_was_used() -> None:
    shopify = Shopify()
    first = shopify.installed()
    shopify.clock.turn(89 * DAY)
    second = shopify.refreshed(first.refresh_token)
    shopify.clock.turn(2 * DAY)
    assert isinstance(shopify.ask(Grant.REFRESH, APP.refresh(first.refresh_token or "")), Refused)
    shopify.clock.turn(89 * DAY)
    assert isinstance(shopify.ask(Grant.REFRESH, APP.refresh(second.refresh_token or "")), Refused)


def test_a_new_grant_retires_refresh_tokens_at_once_and_access_tokens_by_and_by() -> None:
    shopify = Shopify()
    first = shopify.installed()
    second = granted(shopify.exchange())
    assert isinstance(shopify.ask(Grant.REFRESH, APP.refresh(first.refresh_token or "")), Refused)
    assert shopify.works(first)
    shopify.clock.turn(3600)
    assert not shopify.works(first)
    assert shopify.works(shopify.refreshed(second.refresh_token))


def test_a_token_without_an_end_becomes_a_pair_for_good() -> None:
    shopify = Shopify()
    old = shopify.old_token()
    pair = granted(shopify.ask(Grant.MIGRATION, APP.migration(old)))
    assert shopify.grants.allowed(SHOP, old) is None
    assert granted(shopify.ask(Grant.MIGRATION, APP.migration(old))) == pair
    shopify.clock.turn(7 * DAY)
    assert isinstance(shopify.ask(Grant.MIGRATION, APP.migration(old)), Refused)
    assert shopify.works(shopify.refreshed(pair.refresh_token))


@pytest.mark.parametrize("meanwhile", ["refreshed", "acquired"])
def test_a_migration_is_not_given_again_once_its_pair_was_left_behind(meanwhile: str) -> None:
    shopify = Shopify()
    old = shopify.old_token()
    pair = granted(shopify.ask(Grant.MIGRATION, APP.migration(old)))
    if meanwhile == "refreshed":
        shopify.refreshed(pair.refresh_token)
    else:
        shopify.exchange()
    assert isinstance(shopify.ask(Grant.MIGRATION, APP.migration(old)), Refused)


def test_an_uninstall_ends_everything() -> None:
    shopify = Shopify()
    token = shopify.installed()
    assert shopify.grants.uninstall(SHOP)
    assert not shopify.works(token)
    assert isinstance(shopify.ask(Grant.REFRESH, APP.refresh(token.refresh_token or "")), Misconfigured)
    assert not shopify.grants.uninstall(SHOP)
    again = shopify.installed()
    assert isinstance(shopify.ask(Grant.REFRESH, APP.refresh(token.refresh_token or "")), Refused)
    assert shopify.works(again)


def test_the_stores_are_the_same_after_a_restart(tmp_path: Path) -> None:
    path = tmp_path / "sandbox.json"
    shopify = Shopify(path)
    token = shopify.installed()
    assert path.stat().st_mode & 0o077 == 0
    later = Shopify()
    later.grants = Grants(APP, Ledger.open(path), later.clock)
    assert later.works(token)
    assert later.works(later.refreshed(token.refresh_token))


def test_a_broken_file_is_named(tmp_path: Path) -> None:
    path = tmp_path / "sandbox.json"
    path.write_text("{")
    with pytest.raises(ConfigurationError, match=r"sandbox\.json cannot be read"):
        Ledger.open(path)


class OneLineage(RuleBasedStateMachine):
    """Whoever keeps what was answered last, and shows it again when an answer was lost, is never locked out."""

    def __init__(self) -> None:
        super().__init__()
        self.shopify = Shopify()
        self.kept = self.shopify.installed()
        self.asked_at = 0.0  # since when answers were lost without one that came

    @rule(lost=st.booleans(), seconds=st.sampled_from([0.0, 1.0, 3599.0, 3601.0, 10 * DAY]))
    def refresh(self, lost: bool, seconds: float) -> None:
        answer = self.shopify.refreshed(self.kept.refresh_token)
        if not lost:
            self.kept, self.asked_at = answer, self.shopify.clock.seconds
        if self.shopify.clock.seconds + seconds - self.asked_at < 30 * DAY:
            self.shopify.clock.turn(seconds)

    @rule()
    def acquire(self) -> None:
        self.kept = granted(self.shopify.exchange())
        self.asked_at = self.shopify.clock.seconds

    @precondition(lambda self: self.shopify.clock.now() < self.kept.expires_at)
    @invariant()
    def what_is_kept_works(self) -> None:
        assert self.shopify.works(self.kept)
        assert self.kept.scopes == Scopes.parse("read_orders")


TestOneLineage = OneLineage.TestCase
TestOneLineage.settings = hypothesis_settings(max_examples=50, stateful_step_count=20)
