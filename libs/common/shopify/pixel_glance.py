"""Whether the bytes of a standard event's data surely are what is documented, told without making objects of them.

The models of `pixel_payloads` once more, as structs of msgspec, which looks at what they name and skips the rest. It is
stricter than `pixel_check` in places: a text is no amount, a whole number has 64 bits. Who is told no asks there.
"""

from collections.abc import Mapping
from types import NoneType, UnionType
from typing import Annotated, Any, Union, get_args, get_origin

import msgspec
from msgspec import Meta, Raw, json

from libs.common.shopify.pixel_payloads import STANDARD, Payload
from libs.common.shopify.pixel_values import Amount, Id

Whole = Annotated[int, Meta(ge=-(2**63), le=2**63 - 1)]
_SCALARS: Mapping[Any, Any] = {Id: str | Whole, Amount: float, str: str, int: Whole, bool: bool, Any: Raw}


def surely_fits(name: str, data: Raw) -> bool:
    """False where it does not, or where it takes more than a glance to tell; of a name that is none, anything fits."""
    decoder = _DECODERS.get(name)
    if decoder is None:
        return True
    try:
        decoder.decode(data)
    except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError):
        return False
    return True


def _kind(kind: Any) -> Any:
    if kind in _SCALARS:
        return _SCALARS[kind]
    match get_origin(kind):
        case origin if origin in {Union, UnionType}:
            [inner] = [part for part in get_args(kind) if part is not NoneType]
            return _kind(inner) | None
        case origin if origin is list:
            return list[_kind(get_args(kind)[0])]  # type: ignore[misc]
        case origin if origin is dict:
            return dict[str, Raw]
    return _struct(kind)


def _struct(model: type[Payload]) -> type[msgspec.Struct]:
    fields = [
        (name, _kind(field.annotation), msgspec.field(default=None, name=str(field.alias)))
        for name, field in model.model_fields.items()
    ]
    return msgspec.defstruct(model.__name__, fields, gc=False)


_DECODERS = {name: json.Decoder(_struct(model)) for name, model in STANDARD.items()}
