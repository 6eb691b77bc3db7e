"""What a bulk operation writes: every node that its query names, a line of JSON each, children with `__parentId`.

The fields come from the same nodes as the answers of the Admin API; only the pages are left out.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import orjson
from graphql import (
    FieldNode,
    GraphQLObjectType,
    SelectionSetNode,
    get_named_type,
    is_leaf_type,
    value_from_ast_untyped,
)

from services.sandbox.admin_api.documents import Document, fields_of, key_of, schema
from services.sandbox.admin_api.paging import Listed
from services.sandbox.scene import Json

MOST_CONNECTIONS, DEEPEST = 5, 2


class BadBulkQuery(ValueError):
    """A query that bulk operations do not run."""


@dataclass(frozen=True, slots=True)
class Projection:
    """A checked bulk query: its one root connection, and what is written of each node."""

    document: Document
    root: FieldNode
    node_type: GraphQLObjectType

    @classmethod
    def of(cls, document: Document) -> "Projection":
        """Raises `BadBulkQuery`."""
        roots = list(fields_of(document, document.operation.selection_set))
        query = schema().query_type
        if document.operation.operation.value != "query" or query is None:
            raise BadBulkQuery("Only queries can be run in bulk.")
        kinds = [(field, _kind(query, field)) for field in roots]
        connections = [(field, kind) for field, kind in kinds if kind.name.endswith("Connection")]
        if len(kinds) != 1 or not connections:
            raise BadBulkQuery("Bulk queries must contain exactly one connection at their top.")
        root, kind = connections[0]
        found = cls(document, root, _node_type(kind))
        found._check()
        return found

    def arguments(self) -> dict[str, Any]:
        """What the root field is given, without pages: all of it is written."""
        given = _arguments(self.root, self.document.variables)
        return {
            name: value for name, value in given.items() if name not in {"first", "after", "last", "before"}
        }

    def lines(self, node: Json) -> Iterator[bytes]:
        """A node of the root connection and all below it."""
        return self._written(node, self.node_type, self._below(self.root), None)

    def _written(
        self, node: Json, kind: GraphQLObjectType, chosen: SelectionSetNode | None, parent: str | None
    ) -> Iterator[bytes]:
        children: list[tuple[FieldNode, Listed]] = []
        shown = self._shown(node, kind, chosen, children)
        if parent is not None:
            shown["__parentId"] = parent
        yield orjson.dumps(shown, option=orjson.OPT_APPEND_NEWLINE)
        for field, listed in children:
            below, node_type = self._below(field), _node_type(_kind(kind, field))
            for item in listed.items:
                yield from self._written(listed.make(item), node_type, below, node["id"])

    def _shown(
        self,
        node: Json,
        kind: GraphQLObjectType,
        chosen: SelectionSetNode | None,
        children: list[tuple[FieldNode, Listed]],
    ) -> Json:
        """The fields that stand on the node's own line; its connections are put into `children`."""
        shown: Json = {}
        for field in fields_of(self.document, chosen):
            name = field.name.value
            value = kind.name if name == "__typename" else node.get(name)
            if isinstance(value, Listed):
                children.append((field, value))
                continue
            if callable(value):
                value = value(None, **_arguments(field, self.document.variables))
            shown[key_of(field)] = self._value(value, kind, field)
        return shown

    def _value(self, value: Any, kind: GraphQLObjectType, field: FieldNode) -> Any:
        if isinstance(value, list):
            return [self._value(one, kind, field) for one in value]
        if not isinstance(value, dict):
            return value
        below = _kind(kind, field)
        return self._shown(value, below, field.selection_set, [])

    def _below(self, field: FieldNode) -> SelectionSetNode | None:
        """What a connection asks of each node, under `nodes` or `edges { node }`."""
        for part in fields_of(self.document, field.selection_set):
            if part.name.value == "nodes":
                return part.selection_set
            if part.name.value == "edges":
                inner = fields_of(self.document, part.selection_set)
                return next((one.selection_set for one in inner if one.name.value == "node"), None)
        return None

    def _check(self) -> None:
        count = self._connections(self.node_type, self._below(self.root), 0)
        if count + 1 > MOST_CONNECTIONS:
            raise BadBulkQuery(f"Bulk queries cannot contain more than {MOST_CONNECTIONS} connections.")

    def _connections(self, kind: GraphQLObjectType, chosen: SelectionSetNode | None, depth: int) -> int:
        """How many connections are below; refuses what is too deep, and parents without an id."""
        count, names = 0, set[str]()
        for field in fields_of(self.document, chosen):
            names.add(field.name.value)
            if field.name.value == "__typename" or is_leaf_type(
                get_named_type(kind.fields[field.name.value].type)
            ):
                continue
            below = _kind(kind, field)
            if not below.name.endswith("Connection"):
                count += self._connections(below, field.selection_set, depth)
            elif depth == DEEPEST:
                raise BadBulkQuery(f"Bulk queries cannot nest connections deeper than {DEEPEST} levels.")
            else:
                count += 1 + self._connections(_node_type(below), self._below(field), depth + 1)
        if count and "id" not in names:
            raise BadBulkQuery("The parent 'node' field for a nested connection must select the 'id' field.")
        return count


def _kind(parent: GraphQLObjectType, field: FieldNode) -> GraphQLObjectType:
    kind = get_named_type(parent.fields[field.name.value].type)
    if not isinstance(kind, GraphQLObjectType):
        raise BadBulkQuery(f"Bulk queries cannot contain the field '{field.name.value}'.")
    return kind


def _node_type(connection: GraphQLObjectType) -> GraphQLObjectType:
    node = get_named_type(connection.fields["nodes"].type)
    if not isinstance(node, GraphQLObjectType):
        raise BadBulkQuery(f"Bulk queries cannot contain '{connection.name}'.")
    return node


def _arguments(field: FieldNode, variables: Mapping[str, Any]) -> dict[str, Any]:
    return {
        one.name.value: value_from_ast_untyped(one.value, dict(variables)) for one in field.arguments or ()
    }
