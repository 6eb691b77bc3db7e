"""Webhook subscriptions through the Admin API: those of this app at one shop."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from yarl import URL

from libs.common.clock import Clock
from services.sandbox.admin_api.paging import Cursors, connection, size
from services.sandbox.admin_api.values import local_id, time
from services.sandbox.ledger import Ledger, Subscription
from services.sandbox.scene import Json, gid
from services.sandbox.store import Place
from services.sandbox.topics import enum_of, scope_of, topic_of

KIND = "WebhookSubscription"
_NAME = re.compile(r"[A-Za-z0-9_-]{1,50}", re.ASCII)
_PUBSUB = re.compile(r"pubsub://([a-z0-9.:-]+):([A-Za-z0-9._~+%-]+)", re.ASCII)
_BUS = re.compile(r"arn:aws:events:[a-z0-9-]+::event-source/aws\.partner/shopify\.com/.+", re.ASCII)
_TAKEN = "Address for this topic has already been taken"


@dataclass(frozen=True, slots=True)
class Subscriptions:
    """Reads and changes what a shop's app has subscribed to."""

    ledger: Ledger
    clock: Clock
    shop: str
    scopes: frozenset[str]
    app_url: str
    version: str

    def fields(self) -> dict[str, Any]:
        return {
            "webhookSubscription": self._one,
            "webhookSubscriptions": self._page,
            "webhookSubscriptionCreate": self._create,
            "webhookSubscriptionUpdate": self._update,
            "webhookSubscriptionDelete": self._delete,
        }

    def _one(self, _: object, id: str) -> Json | None:  # noqa: A002 - the argument's name in the schema
        found = self._found(id)
        return self._node(found) if found else None

    def _page(self, _: object, **arguments: Any) -> Json:
        limit, reverse, key = size(arguments), arguments["reverse"], arguments["sortKey"]
        chosen = {name: arguments.get(name) for name in ("topics", "uri", "format")}
        cursors = Cursors.of("subscriptions", key, reverse, chosen)
        after = cursors.read(arguments.get("after"))
        found = [one for one in self._all() if _matches(one, chosen)]
        found.sort(key=_place, reverse=reverse)
        if after is not None:
            found = [one for one in found if (_place(one) < after.id if reverse else _place(one) > after.id)]
        return connection(
            found,
            limit,
            make=self._node,
            cursor=lambda one: cursors.write(Place(int(one.created_at), one.id)),
            later=after is not None,
        )

    def _create(self, _: object, topic: str, webhookSubscription: Json) -> Json:  # noqa: N803
        wanted, now = webhookSubscription, self.clock.now().timestamp()
        new = Subscription(self.ledger.new_id(now), topic_of(topic), wanted.get("uri") or "", now, now)
        return self._put(new, wanted)

    def _update(self, _: object, id: str, webhookSubscription: Json) -> Json:  # noqa: A002, N803
        known = self._found(id)
        if known is None:
            return _failed("id", "Webhook subscription does not exist")
        changed = Subscription(
            known.id, known.topic, known.uri, known.created_at, self.clock.now().timestamp()
        )
        kept = {"filter": known.filter, "name": known.name, "includeFields": known.include_fields}
        return self._put(changed, {"uri": known.uri, "format": known.format, **kept, **webhookSubscription})

    def _put(self, one: Subscription, wanted: Mapping[str, Any]) -> Json:
        one.uri, one.filter = wanted.get("uri") or "", wanted.get("filter") or ""
        one.name, one.format = wanted.get("name"), wanted.get("format") or "JSON"
        one.include_fields = list(wanted.get("includeFields") or ())
        one.namespaces = list(wanted.get("metafieldNamespaces") or ())
        if problem := self._problem(one):
            return _failed(*problem)
        self.ledger.store(self.shop).subscriptions[str(one.id)] = one
        self.ledger.save()
        return {"webhookSubscription": self._node(one), "userErrors": []}

    def _problem(self, one: Subscription) -> tuple[str, str] | None:
        """The field that is wrong, and why."""
        scope = scope_of(one.topic)
        if scope is not None and scope not in self.scopes:
            return "topic", f"The app needs the {scope} access scope for this topic"
        if (why := self._bad_uri(one.uri)) is not None:
            return "uri", why
        if one.name is not None and not _NAME.fullmatch(one.name):
            return "name", "Name may have 50 letters, digits, _ and -"
        same = (one.topic, one.uri, one.filter)
        if any((o.topic, o.uri, o.filter) == same and o.id != one.id for o in self._all()):
            return "uri", _TAKEN
        return None

    def _bad_uri(self, uri: str) -> str | None:
        """Shopify takes https only; an app of this machine has no other than http."""
        if not uri:
            return "Address can't be blank"
        if _PUBSUB.fullmatch(uri) or _BUS.fullmatch(uri):
            return None
        try:
            url = URL(uri)
        except ValueError:
            return "Address is invalid"
        if url.host is None:
            return "Address is invalid"
        if url.scheme == "https" or (url.scheme == "http" and url.origin() == URL(self.app_url).origin()):
            return None
        return f"Address protocol {url.scheme}:// is not supported"

    def _delete(self, _: object, id: str) -> Json:  # noqa: A002 - the argument's name in the schema
        known = self._found(id)
        if known is None:
            errors = [{"field": ["id"], "message": "Webhook subscription does not exist"}]
            return {"deletedWebhookSubscriptionId": None, "userErrors": errors}
        del self.ledger.store(self.shop).subscriptions[str(known.id)]
        self.ledger.save()
        return {"deletedWebhookSubscriptionId": gid(KIND, known.id), "userErrors": []}

    def _all(self) -> list[Subscription]:
        return list(self.ledger.look(self.shop).subscriptions.values())

    def _found(self, identifier: str) -> Subscription | None:
        number = local_id(identifier, KIND)
        return self.ledger.look(self.shop).subscriptions.get(str(number))

    def _node(self, one: Subscription) -> Json:
        return {
            "id": gid(KIND, one.id),
            "legacyResourceId": str(one.id),
            "topic": enum_of(one.topic),
            "uri": one.uri,
            "format": one.format,
            "filter": one.filter,
            "name": one.name,
            "includeFields": one.include_fields,
            "metafieldNamespaces": one.namespaces,
            "apiVersion": {"handle": self.version, "displayName": self.version, "supported": True},
            "createdAt": time(int(one.created_at)),
            "updatedAt": time(int(one.updated_at)),
            "endpoint": _endpoint(one.uri),
            "callbackUrl": one.uri,
        }


def _endpoint(uri: str) -> Json:
    if found := _PUBSUB.fullmatch(uri):
        return {"__typename": "WebhookPubSubEndpoint", "pubSubProject": found[1], "pubSubTopic": found[2]}
    if _BUS.fullmatch(uri):
        return {"__typename": "WebhookEventBridgeEndpoint", "arn": uri}
    return {"__typename": "WebhookHttpEndpoint", "callbackUrl": uri}


def _matches(one: Subscription, chosen: Mapping[str, Any]) -> bool:
    topics, uri, kind = chosen["topics"], chosen["uri"], chosen["format"]
    return (
        (not topics or enum_of(one.topic) in topics) and uri in {None, one.uri} and kind in {None, one.format}
    )


def _place(one: Subscription) -> int:
    """Ids rise with time, so both sort keys are this one."""
    return one.id


def _failed(field: str, message: str) -> Json:
    path = [field] if field in {"id", "topic"} else ["webhookSubscription", field]
    return {"webhookSubscription": None, "userErrors": [{"field": path, "message": message}]}
