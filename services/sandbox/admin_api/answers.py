"""One request to the Admin API from its body to its answer: read, priced, paid for, run, settled."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from graphql import ExecutionResult, GraphQLError, execute_sync

from services.sandbox.admin_api import cost
from services.sandbox.admin_api.buckets import Bucket
from services.sandbox.admin_api.documents import BadDocument, Document, read, schema
from services.sandbox.admin_api.values import DOCUMENTATION
from services.sandbox.scene import Json

Fields = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Asked:
    """What a body asks for."""

    query: str
    operation: str | None
    variables: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer to be told. Until then the points of its query are reserved."""

    members: Json
    bucket: Bucket
    requested: int | None = None  # None: nobody asked the bucket
    used: int | None = None  # None: it did not run

    def told(self, now: float) -> Json:
        """The answer with its `extensions.cost`; what was not used has gone back."""
        if self.requested is None:
            return self.members
        if self.used is not None:
            self.bucket.settle(self.requested, self.used, now)
        return self.members | {"extensions": {"cost": _cost(self.requested, self.used, self.bucket)}}


def answer(asked: Asked, bucket: Bucket, fields: Callable[[], Fields], now: float) -> Reply:
    """Runs what was asked; `fields` gives what the root fields resolve to."""
    try:
        document = read(asked.query, asked.operation, asked.variables)
    except BadDocument as bad:
        return Reply({"errors": bad.errors}, bucket)
    costing = cost.Costing(document)
    requested = costing.requested()
    if requested > cost.MOST:
        return Reply({"errors": [_too_costly(requested)]}, bucket)
    if not bucket.reserve(requested, now):
        return Reply({"errors": [_THROTTLED]}, bucket, requested)
    result = _run(document, fields())
    return Reply(_shown(result), bucket, requested, min(costing.actual(result.data), requested))


def _run(document: Document, fields: Fields) -> ExecutionResult:
    name = document.operation.name
    return execute_sync(
        schema(),
        document.node,
        root_value=fields,
        variable_values=dict(document.variables),
        operation_name=name.value if name else None,
    )


def _shown(result: ExecutionResult) -> Json:
    if not result.errors:
        return {"data": result.data}
    return {"errors": [_error(error) for error in result.errors], "data": result.data}


def _error(error: GraphQLError) -> Json:
    """An error of the sandbox itself is no answer: it is raised."""
    if error.original_error is not None and not isinstance(error.original_error, GraphQLError):
        raise error.original_error
    return {**error.formatted}


def _cost(requested: int, used: int | None, bucket: Bucket) -> Json:
    return {"requestedQueryCost": requested, "actualQueryCost": used, "throttleStatus": bucket.shown()}


_THROTTLED = {
    "message": "Throttled",
    "extensions": {"code": "THROTTLED", "documentation": f"{DOCUMENTATION}/rate-limits"},
}


def _too_costly(points: int) -> Json:
    message = (
        f"Query cost is {points}, which exceeds the single query max cost limit ({cost.MOST}).\n\n"
        "See https://shopify.dev/concepts/about-apis/rate-limits for more information on how the\n"
        "cost of a query is calculated.\n\n"
        "To query larger amounts of data with fewer limits, bulk operations should be used instead.\n"
        "See https://shopify.dev/api/usage/bulk-operations/queries for usage details.\n"
    )
    extensions = {
        "code": "MAX_COST_EXCEEDED",
        "cost": points,
        "maxCost": cost.MOST,
        "documentation": f"{DOCUMENTATION}/rate-limits",
    }
    return {"message": message, "extensions": extensions}
