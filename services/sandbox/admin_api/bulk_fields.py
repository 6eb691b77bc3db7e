"""The fields about bulk operations, for the app of one shop."""

from dataclasses import dataclass
from secrets import token_hex
from typing import Any

from services.sandbox.admin_api.bulk import AT_ONCE, KIND, Workshop
from services.sandbox.admin_api.documents import BadDocument, read
from services.sandbox.admin_api.paging import Cursors, connection, size
from services.sandbox.admin_api.projection import BadBulkQuery, Projection
from services.sandbox.admin_api.values import bad_request, local_id, time
from services.sandbox.ledger import BulkOperation
from services.sandbox.scene import Json, gid
from services.sandbox.search import BadSearch, Search, parse_search
from services.sandbox.store import Place

_KINDS = frozenset({"products", "orders", "customers"})


@dataclass(frozen=True, slots=True)
class BulkFields:
    """Starts, shows and cancels."""

    workshop: Workshop
    shop: str
    scopes: frozenset[str]
    files: str  # where the results are found, without a slash at its end

    def fields(self) -> dict[str, Any]:
        return {
            "bulkOperation": self._one,
            "bulkOperations": self._page,
            "bulkOperationRunQuery": self._start,
            "bulkOperationCancel": self._cancel,
        }

    def _one(self, _: object, id: str) -> Json | None:  # noqa: A002 - the argument's name in the schema
        found = self._found(id)
        return self._node(found) if found else None

    def _page(self, _: object, **arguments: Any) -> Json:
        limit, reverse, text = size(arguments), arguments["reverse"], arguments.get("query")
        cursors = Cursors.of("bulk", reverse, text)
        after = cursors.read(arguments.get("after"))
        try:
            search = parse_search(text)
        except BadSearch as error:
            raise bad_request(str(error)) from error
        every = sorted(self._all().values(), key=lambda one: one.id, reverse=reverse)
        found = [one for one in every if _fits(one, search)]
        if after is not None:
            found = [one for one in found if (one.id < after.id if reverse else one.id > after.id)]
        return connection(
            found,
            limit,
            make=self._node,
            cursor=lambda one: cursors.write(Place(int(one.created_at), one.id)),
            later=after is not None,
        )

    def _start(self, _: object, query: str, groupObjects: bool) -> Json:  # noqa: FBT001, N803 - as in the schema
        if problem := _problem(query):
            return _failed("INVALID", problem)
        if self.workshop.underway(self.shop) >= AT_ONCE:
            return _failed(
                "OPERATION_IN_PROGRESS", f"{AT_ONCE} bulk queries are in progress for this app and shop."
            )
        now = self.workshop.clock.now().timestamp()
        new = BulkOperation(
            self.workshop.ledger.new_id(now),
            query,
            now,
            ",".join(sorted(self.scopes)),
            token_hex(),
            grouped=groupObjects,
        )
        self._all()[str(new.id)] = new
        self.workshop.start(self.shop, new)
        return {"bulkOperation": self._node(new), "userErrors": []}

    def _cancel(self, _: object, id: str) -> Json:  # noqa: A002 - the argument's name in the schema
        found = self._found(id)
        if found is None:
            return _failed(None, "Bulk operation does not exist", "id")
        if found.completed_at is not None:
            message = f"A bulk operation cannot be canceled when it is {found.status.lower()}"
            return {"bulkOperation": self._node(found), "userErrors": [{"field": ["id"], "message": message}]}
        found.status = "CANCELING"
        return {"bulkOperation": self._node(found), "userErrors": []}

    def _all(self) -> dict[str, BulkOperation]:
        return self.workshop.ledger.store(self.shop).bulk

    def _found(self, identifier: str) -> BulkOperation | None:
        return self._all().get(str(local_id(identifier, KIND)))

    def _node(self, one: BulkOperation) -> Json:
        address = f"{self.files}/{one.file}.jsonl" if one.completed_at and one.size else None
        return {
            "id": gid(KIND, one.id),
            "status": one.status,
            "type": "QUERY",
            "errorCode": one.error,
            "query": one.query,
            "url": address if one.status == "COMPLETED" else None,
            "partialDataUrl": address if one.status in {"FAILED", "CANCELED", "EXPIRED"} else None,
            "objectCount": str(one.objects),
            "rootObjectCount": str(one.roots),
            "fileSize": str(one.size) if one.completed_at else None,
            "createdAt": time(int(one.created_at)),
            "completedAt": time(int(one.completed_at)) if one.completed_at else None,
        }


def _fits(one: BulkOperation, search: Search) -> bool:
    return (
        search.status in {None, one.status.lower()}
        and search.created.low <= int(one.created_at) <= search.created.high
    )


def _problem(query: str) -> str | None:
    """Why a query cannot be run in bulk."""
    try:
        root = Projection.of(read(query, None, {})).root
    except BadDocument as bad:
        return f"Invalid bulk query: {bad.errors[0]['message']}"
    except BadBulkQuery as bad:
        return str(bad)
    name = root.name.value
    return None if name in _KINDS else f"The sandbox does not run '{name}' in bulk."


def _failed(code: str | None, message: str, name: str = "query") -> Json:
    error = {"field": [name], "message": message, **({"code": code} if code else {})}
    return {"bulkOperation": None, "userErrors": [error]}
