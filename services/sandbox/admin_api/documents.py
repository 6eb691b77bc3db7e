"""Reads GraphQL documents against the schema, and says what is wrong with them in Shopify's words."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

from cachetools import LRUCache
from graphql import (
    DocumentNode,
    FieldNode,
    FragmentDefinitionNode,
    FragmentSpreadNode,
    GraphQLError,
    GraphQLSchema,
    GraphQLSyntaxError,
    InlineFragmentNode,
    OperationDefinitionNode,
    SelectionSetNode,
    build_schema,
    parse,
    validate,
    value_from_ast_untyped,
)
from graphql.utilities import get_operation_ast

from services.sandbox.scene import Json

_UNKNOWN_FIELD = re.compile(r"Cannot query field '(\w+)' on type '(\w+)'")
_BAD_ENUM = re.compile(r"Value '(\w+)' does not exist in '(\w+)' enum")


class BadDocument(Exception):
    """A document that Shopify does not run."""

    def __init__(self, errors: list[Json]) -> None:
        super().__init__()
        self.errors = errors


@dataclass(frozen=True, slots=True)
class Document:
    """A valid document with the operation that is to run."""

    node: DocumentNode
    operation: OperationDefinitionNode
    variables: Mapping[str, Any]  # with the defaults of those that were not given
    fragments: Mapping[str, FragmentDefinitionNode]

    @classmethod
    def of(
        cls, node: DocumentNode, operation: OperationDefinitionNode, variables: Mapping[str, Any]
    ) -> "Document":
        """The document with one of its operations chosen."""
        parts = node.definitions
        fragments = {one.name.value: one for one in parts if isinstance(one, FragmentDefinitionNode)}
        defaults = {
            one.variable.name.value: value_from_ast_untyped(one.default_value)
            for one in operation.variable_definitions or ()
            if one.default_value is not None
        }
        return cls(node, operation, {**defaults, **variables}, fragments)


@cache
def schema() -> GraphQLSchema:
    """The schema in the file beside this."""
    return build_schema(files(__package__).joinpath("schema.graphql").read_text())


_READ: "LRUCache[str, DocumentNode]" = LRUCache(200)


def read(text: str, operation: str | None, variables: Mapping[str, Any]) -> Document:
    """Parses and validates; raises `BadDocument`."""
    node = _READ.get(text)
    if node is None:
        node = _READ[text] = _valid(text)
    found = get_operation_ast(node, operation)
    if found is None:
        raise BadDocument([{"message": "An operation name is required"}])
    return Document.of(node, found, variables)


def fields_of(document: Document, chosen: SelectionSetNode | None) -> Iterator[FieldNode]:
    """The fields of a selection with those of its fragments."""
    for part in chosen.selections if chosen else ():
        if isinstance(part, FieldNode):
            yield part
        elif isinstance(part, InlineFragmentNode):
            yield from fields_of(document, part.selection_set)
        elif isinstance(part, FragmentSpreadNode):
            yield from fields_of(document, document.fragments[part.name.value].selection_set)


def key_of(field: FieldNode) -> str:
    """The name that a field has in the answer."""
    return field.alias.value if field.alias else field.name.value


def _valid(text: str) -> DocumentNode:
    try:
        node = parse(text)
    except GraphQLSyntaxError as error:
        raise BadDocument([_in_shopifys_words(error)]) from error
    if errors := validate(schema(), node):
        raise BadDocument([_in_shopifys_words(error) for error in errors])
    return node


def _in_shopifys_words(error: GraphQLError) -> Json:
    shown: Json = {**error.formatted}
    if found := _UNKNOWN_FIELD.match(error.message):
        name, kind = found.groups()
        shown["message"] = f"Field '{name}' doesn't exist on type '{kind}'"
        shown["extensions"] = {"code": "undefinedField", "typeName": kind, "fieldName": name}
    elif found := _BAD_ENUM.match(error.message):
        shown["extensions"] = {"code": "argumentLiteralsIncompatible", "typeName": found[2]}
    return shown
