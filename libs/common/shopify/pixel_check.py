"""Whether a standard event's data is what is documented, asked of every event that comes in: so it has to be cheap.

The models of `pixel_payloads` make objects, and call Python for each id and each amount. The same models as typed
dictionaries of pydantic's core only look, for a fraction of that (docs/decisions/0012).
"""

from collections.abc import Mapping
from types import NoneType, UnionType
from typing import Any, Union, get_args, get_origin

from pydantic_core import CoreSchema, SchemaValidator, core_schema

from libs.common.shopify.pixel_payloads import STANDARD, Payload
from libs.common.shopify.pixel_values import Amount, Id

_TEXT = core_schema.str_schema(strict=True)
_SCALARS: Mapping[Any, CoreSchema] = {
    Id: core_schema.union_schema([_TEXT, core_schema.int_schema(strict=True)]),
    Amount: core_schema.float_schema(),  # a text of digits is one too
    str: _TEXT,
    int: core_schema.int_schema(),
    bool: core_schema.bool_schema(strict=True),
    Any: core_schema.any_schema(),
}


def fits(name: str, data: object) -> bool:
    """Whether the data of a standard event is what is documented; of a name that is none, anything is."""
    check = _CHECKS.get(name)
    return check is None or data is None or check.isinstance_python(data)


def _schema(kind: Any) -> CoreSchema:
    if kind in _SCALARS:
        return _SCALARS[kind]
    match get_origin(kind):
        case origin if origin in {Union, UnionType}:
            [inner] = [part for part in get_args(kind) if part is not NoneType]
            return core_schema.nullable_schema(_schema(inner))
        case origin if origin is list:
            return core_schema.list_schema(_schema(get_args(kind)[0]), strict=True)
        case origin if origin is dict:
            return core_schema.dict_schema(strict=True)
    return _fields(kind)


def _fields(model: type[Payload]) -> CoreSchema:
    fields = {
        str(field.alias): core_schema.typed_dict_field(_schema(field.annotation), required=False)
        for field in model.model_fields.values()
    }
    return core_schema.typed_dict_schema(fields, strict=True, extra_behavior="ignore")


_CHECKS = {name: SchemaValidator(_fields(model)) for name, model in STANDARD.items()}
