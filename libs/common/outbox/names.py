"""Which tables a statement means. Schema names are identifiers and cannot be bound as parameters."""

from functools import lru_cache

from libs.common.contracts.topology import CONSUMERS, SOURCES

_KNOWN = frozenset((*SOURCES, *CONSUMERS))


@lru_cache(maxsize=512)
def bind(statement: str, *, source: str | None = None, consumer: str | None = None) -> str:
    """Puts schema names of the topology, and nothing else, in place of SOURCE and CONSUMER.

    Raises `ValueError` for any other name, so that no outside text can reach a statement.
    """
    for token, schema in (("SOURCE.", source), ("CONSUMER.", consumer)):
        if schema is None:
            continue
        if schema not in _KNOWN:
            raise ValueError(f"{schema!r} is not a schema of the topology")
        statement = statement.replace(token, schema + ".")
    return statement
