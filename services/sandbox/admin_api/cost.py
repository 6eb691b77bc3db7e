"""What a query costs: before it runs by what it asks for, and afterwards by what it got (SHOPIFY 6.3).

A field that is a value is free; an object costs one; a connection costs two and its nodes, as many as `first` says;
a mutation costs ten whatever it gives back. Money, pages and errors are values although they have fields: recorded
answers say so.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any

from graphql import (
    FieldNode,
    GraphQLObjectType,
    SelectionSetNode,
    get_named_type,
    is_leaf_type,
    value_from_ast_untyped,
)

from services.sandbox.admin_api.documents import Document, fields_of, key_of, schema

OBJECT, CONNECTION, MUTATION = 1, 2, 10
MOST = 1000
_VALUES = frozenset(
    {
        *("MoneyV2", "MoneyBag", "PageInfo", "Count", "CustomerEmailAddress", "CustomerPhoneNumber"),
        *("WebhookSubscriptionEndpoint", "ApiVersion", "ShopPlan"),
    }
)


class _Unknown(Enum):
    """Stands for data that is not there yet."""

    YET = "yet"


@dataclass(frozen=True, slots=True)
class Costing:
    """Counts the operation of a document."""

    document: Document

    def requested(self) -> int:
        """Points that are reserved before the operation runs."""
        return self._operation(_Unknown.YET)

    def actual(self, data: Mapping[str, Any] | None) -> int:
        """Points that it used up."""
        return self._operation(data) if data else 0

    def _operation(self, data: Any) -> int:
        operation = self.document.operation
        root = schema().get_root_type(operation.operation)
        return self._all(root, operation.selection_set, data) if root else 0

    def _all(self, parent: GraphQLObjectType, chosen: SelectionSetNode | None, data: Any) -> int:
        return sum(self._field(parent, field, data) for field in fields_of(self.document, chosen))

    def _field(self, parent: GraphQLObjectType, field: FieldNode, data: Any) -> int:
        definition = parent.fields.get(field.name.value)
        if definition is None or is_leaf_type(kind := get_named_type(definition.type)):
            return 0
        if parent is schema().mutation_type:
            return MUTATION
        if kind.name in _VALUES or not isinstance(kind, GraphQLObjectType):
            return 0
        return self._object(kind, field, data if data is _Unknown.YET else data.get(key_of(field)))

    def _object(self, kind: GraphQLObjectType, field: FieldNode, value: Any) -> int:
        if value is None:
            return OBJECT  # looked for, and not there: recorded answers count it
        if kind.name.endswith("Connection"):
            return self._connection(kind, field, value)
        if isinstance(value, list):
            return OBJECT + max((self._all(kind, field.selection_set, one) for one in value), default=0)
        return OBJECT + self._all(kind, field.selection_set, value)

    def _connection(self, kind: GraphQLObjectType, field: FieldNode, value: Any) -> int:
        node = get_named_type(kind.fields["nodes"].type)
        if not isinstance(node, GraphQLObjectType):
            return CONNECTION
        lists = self._lists(field, value)
        return CONNECTION + max((self._nodes(node, field, *one) for one in lists), default=0)

    def _lists(self, field: FieldNode, value: Any) -> Iterator[tuple[SelectionSetNode | None, Any]]:
        """What is asked of each node and the nodes that came: under `nodes`, or under `edges`."""
        for part in fields_of(self.document, field.selection_set):
            found = value if value is _Unknown.YET else value.get(key_of(part))
            if part.name.value == "nodes":
                yield part.selection_set, found
            if part.name.value == "edges":
                inner = next(
                    (one for one in fields_of(self.document, part.selection_set) if one.name.value == "node"),
                    None,
                )
                yield (inner.selection_set, _inside(found, key_of(inner))) if inner else (None, found)

    def _nodes(
        self, node: GraphQLObjectType, field: FieldNode, chosen: SelectionSetNode | None, found: Any
    ) -> int:
        if found is _Unknown.YET:
            return self._first(field) * (OBJECT + self._all(node, chosen, found))
        return sum(OBJECT + self._all(node, chosen, data) for data in found or () if data is not None)

    def _first(self, field: FieldNode) -> int:
        """How many nodes are asked for; what is no number is refused when the query runs."""
        for argument in field.arguments or ():
            if argument.name.value == "first":
                first = value_from_ast_untyped(argument.value, dict(self.document.variables))
                return first if isinstance(first, int) and first > 0 else 0
        return 0


def _inside(edges: Any, key: str) -> Any:
    return edges if edges is _Unknown.YET or edges is None else [edge.get(key) for edge in edges]
