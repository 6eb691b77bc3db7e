"""Reads GraphQL documents against the schema, and says what is wrong with them in Shopify's words."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

from cachetools import LRUCache
from graphql import (
    DocumentNode,
    GraphQLError,
    GraphQLSchema,
    GraphQLSyntaxError,
    OperationDefinitionNode,
    build_schema,
    parse,
    validate,
)
from graphql.utilities import get_operation_ast

from services.sandbox.admin_api.cost import Costing
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
    variables: Mapping[str, Any]

    def costing(self) -> Costing:
        return Costing.of(schema(), self.node, self.operation, self.variables)


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
    return Document(node, found, variables)


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
