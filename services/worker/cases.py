"""Privacy cases: what each request means, which service is asked next, and how a case ends."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

import asyncpg
import orjson

from libs.common.clock import Clock
from libs.common.contracts.envelope import Message
from libs.common.contracts.privacy import (
    COLLECT,
    CUSTOMER_REDACT,
    DATA_REQUEST,
    ERASE,
    ERASED,
    ORDER,
    SHOP_REDACT,
    Answer,
    Command,
    Subject,
    command_key,
    command_type,
)
from libs.common.db import Connection
from libs.common.outbox import erase_store
from libs.common.privacy.keys import PrivacyKeys
from libs.common.privacy.people import email_of, marks_of
from libs.common.runtime.context import Context
from libs.common.runtime.outcomes import Cancelled, Never
from services.worker import cases_store, metrics
from services.worker.browsers import Browsers

DEADLINE = timedelta(days=30)  # SHOPIFY 4.5
KINDS = {DATA_REQUEST: "data_request", CUSTOMER_REDACT: "customer_redact", SHOP_REDACT: "shop_redact"}
_ORDERS = {DATA_REQUEST: "orders_requested", CUSTOMER_REDACT: "orders_to_redact"}
_LARGEST_ID = 2**63 - 1
_KEPT = ("customer_id", "email", "phone", "orders", "linked")  # of the request; what is found is added

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Cases:
    """The book of cases."""

    keys: PrivacyKeys
    clock: Clock
    browsers: Browsers

    async def open(self, message: Message, ctx: Context) -> None:
        """Begins the case that a request of Shopify's asks for, and asks the first service."""
        if message.body == ERASED:
            raise Cancelled("the payload was erased: its case has ended")
        now = self.clock.now()
        subject = read_request(message, now)
        async with ctx.transaction() as tx:
            case = self._case(message, subject, now)
            if await cases_store.open_case(tx, case, ORDER):
                await self._ask(tx, ctx, case, ORDER[0])

    async def answered(self, message: Message, ctx: Context) -> None:
        """Takes in what a service erased or found, and asks the next one, or ends the case."""
        if message.body == ERASED:
            raise Cancelled("this answer was taken in before")
        answer = Answer.of(message)
        clients = await self._clients(answer)
        async with ctx.transaction() as tx:
            await erase_store.empty_payloads(tx, message.source, [message.id])
            case = await cases_store.case(tx, answer.case, locked=True)
            if case is None:
                return
            if case["status"] == "open":
                await self._take_in(tx, ctx, case, answer, clients)
            else:  # ended before its time, with the shop or the person it was about
                await self._empty_traces(tx, dict(case))

    async def _clients(self, answer: Answer) -> Sequence[str]:
        """A person's browsers, for those who are asked after the first, which holds nothing of browsers."""
        if answer.service != ORDER[0]:
            return ()
        case = await self.browsers.case(answer.case)
        if case is None or case["status"] != "open" or case["kind"] == "shop_redact":
            return ()
        return await self.browsers.of(subject_of(dict(case)))

    async def _take_in(
        self, tx: Connection, ctx: Context, case: asyncpg.Record, answer: Answer, clients: Sequence[str]
    ) -> None:
        if answer.objection is not None:
            await self._supersede(tx, case, answer.objection)
            return
        if case["kind"] == "data_request":
            content = orjson.dumps(answer.items)
            if (
                await cases_store.keep_part(tx, answer.case, answer.service, answer.part, content)
                < answer.parts
            ):
                return
        rows, at = dict(answer.rows), self.clock.now()
        if not await cases_store.answered(tx, answer.case, answer.service, at, rows, answer.found):
            return
        await self._go_on(tx, ctx, dict(case), {"linked": answer.linked, "clients": clients})

    async def _go_on(
        self, tx: Connection, ctx: Context, case: Json, found: Mapping[str, Sequence[Any]]
    ) -> None:
        steps = await cases_store.steps(tx, [case["id"]])
        following = next((step["service"] for step in steps if step["answered_at"] is None), None)
        if following is None:
            await self._finish(tx, case, steps)
            return
        known = orjson.loads(case["subject"])
        more = {name: sorted({*known.get(name, ()), *values}) for name, values in found.items() if values}
        if more:
            case["subject"] = orjson.dumps({**known, **more}).decode()
            await cases_store.keep_subject(tx, case["id"], case["subject"])
        await self._ask(tx, ctx, case, following)

    async def _ask(self, tx: Connection, ctx: Context, case: Json, service: str) -> None:
        command = Command(case["id"], subject_of(case))
        kind = COLLECT if case["kind"] == "data_request" else ERASE
        await cases_store.asked(tx, case["id"], service, self.clock.now())
        await ctx.emit(
            command_type(kind, service), command.body(), shop="", key=command_key(case["id"], service)
        )

    async def _finish(self, tx: Connection, case: Json, steps: Sequence[asyncpg.Record]) -> None:
        if case["kind"] == "data_request":
            receipt = self._receipt(case, steps, "collected")
            await cases_store.end(tx, case["id"], "ready", self.clock.now(), receipt=receipt)
        else:
            await self._end_erasure(tx, case, steps)
        await self._empty_traces(tx, case)

    async def _end_erasure(self, tx: Connection, case: Json, steps: Sequence[asyncpg.Record]) -> None:
        """One that found nothing more than an earlier one did has that one's receipt."""
        before = await cases_store.earlier(tx, case["subject_mark"], case["kind"], case["id"])
        repeated = before is not None and not any(step["found"] for step in steps)
        receipt = before["receipt"] if before and repeated else self._receipt(case, steps, "erased")
        repeats = before["id"] if before and repeated else None
        await cases_store.end(tx, case["id"], "done", self.clock.now(), repeats=repeats, receipt=receipt)
        if case["kind"] == "shop_redact":
            await cases_store.forget_shop(tx, case["shop_mark"], case["id"])
        metrics.PRIVACY_ENDED.labels(case["kind"], "repeated" if repeated else "done").inc()

    async def _supersede(self, tx: Connection, case: asyncpg.Record, reason: str) -> None:
        steps = await cases_store.steps(tx, [case["id"]])
        receipt = self._receipt(dict(case), steps, "superseded", reason)
        await cases_store.end(tx, case["id"], "superseded", self.clock.now(), reason=reason, receipt=receipt)
        await self._empty_traces(tx, dict(case))
        metrics.PRIVACY_ENDED.labels(case["kind"], "superseded").inc()

    async def _empty_traces(self, tx: Connection, case: Json) -> None:
        """The request names the person, and so do the commands that came of it."""
        await erase_store.empty_payloads(tx, case["message_source"], [case["id"]])
        await erase_store.empty_by_key(tx, "worker", [command_key(case["id"], name) for name in ORDER])

    def _receipt(
        self, case: Json, steps: Sequence[asyncpg.Record], outcome: str, reason: str | None = None
    ) -> str:
        facts = {
            "version": 1,
            "case": str(case["id"]),
            "kind": case["kind"],
            "outcome": outcome,
            **({"reason": reason} if reason else {}),
            "shop": case["shop_mark"].hex(),
            "subject": case["subject_mark"].hex(),
            **{name: _moment(case[name]) for name in ("requested_at", "opened_at", "due_at")},
            "finished_at": _moment(self.clock.now()),
            "steps": [_step(step) for step in steps if step["answered_at"] is not None],
        }
        return orjson.dumps(self.keys.sign(facts)).decode()

    def _case(self, message: Message, subject: Subject, now: datetime) -> Json:
        known = {name: getattr(subject, name) for name in _KEPT}
        return {
            "id": message.id,
            "kind": KINDS[message.type],
            "shop": message.shop,
            "shop_mark": self.keys.shop(message.shop),
            "subject_mark": subject_mark(self.keys, subject),
            "subject": orjson.dumps(known).decode(),
            "request_id": _request_id(message),
            "message_source": message.source,
            "requested_at": min(message.time, now),
            "opened_at": now,
            "due_at": min(message.time, now) + DEADLINE,
        }


def read_request(message: Message, now: datetime) -> Subject:
    """Whom a request of Shopify's is about; raises `Never` where it names nobody."""
    if not message.shop:
        raise Never("the request names no shop")
    payload = message.json()
    if not isinstance(payload, dict):
        raise Never("the payload is not an object")
    if message.type == SHOP_REDACT:
        return Subject(message.shop, now, whole_shop=True)
    subject = _customer(message.shop, now, payload, payload.get(_ORDERS[message.type]))
    if not any(True for _ in marks_of(subject)):
        raise Never("the request names nobody: neither a customer's id, address or number nor an order")
    return subject


def _customer(shop: str, now: datetime, payload: Json, orders: object) -> Subject:
    given = payload.get("customer")
    customer: Json = given if isinstance(given, dict) else {}
    email, phone = _text(customer.get("email")), _text(customer.get("phone"))
    return Subject(
        shop,
        now,
        customer_id=_id(customer.get("id")),
        email=email_of(email) if email else None,
        phone=phone,
        orders=sorted({number for order in orders if (number := _id(order))})
        if isinstance(orders, list)
        else [],
    )


def subject_of(case: Json) -> Subject:
    """Whom a case that is not over is about."""
    known = orjson.loads(case["subject"])
    whole = case["kind"] == "shop_redact"
    return replace(Subject(case["shop"], case["opened_at"], whole_shop=whole), **known)


def subject_mark(keys: PrivacyKeys, subject: Subject) -> bytes:
    """Stands for whom a case is about, by the first thing that names them."""
    if subject.whole_shop:
        return keys.shop(subject.shop)
    kind, text = next(marks_of(subject))
    return keys.customer(subject.shop, kind, text)


def _step(step: asyncpg.Record) -> Json:
    rows = orjson.loads(step["rows"] or "{}")
    return {"service": step["service"], "rows": rows, "answered_at": _moment(step["answered_at"])}


def _moment(at: datetime) -> str:
    return at.isoformat().replace("+00:00", "Z")


def _request_id(message: Message) -> int | None:
    request = message.json().get("data_request")
    return _id(request.get("id")) if isinstance(request, dict) else None


def _id(value: object) -> int | None:
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) < 20:  # noqa: PLR2004
        value = int(value)
    return value if type(value) is int and 0 < value <= _LARGEST_ID else None


def _text(value: object) -> str | None:
    return value.strip() if isinstance(value, str) and value.strip() and "\0" not in value else None
