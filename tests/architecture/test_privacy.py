"""Every table says whether it holds people or shops; one that does not say so is found here."""

import importlib
from pathlib import Path

import asyncpg
import pytest

from libs.common.contracts.topology import CONSUMERS, SOURCES
from libs.common.outbox.names import bind
from libs.common.privacy.declarations import Free, Holdings, Personal, Protocol, Statement
from tests.integration.privacy_kit import OF_CATALOGUE

ROOT = Path(__file__).parents[2]
SCHEMAS = sorted({path.parent.parent.name for path in ROOT.glob("services/*/migrations/*.py")})
COLUMNS = "SELECT column_name FROM information_schema.columns WHERE table_schema = $1 AND table_name = $2"
NEW = "CREATE TABLE SOURCE.surprise (email text)"


def declared(schema: str) -> Holdings:
    holdings: Holdings = importlib.import_module(f"services.{schema}.privacy_store").HOLDINGS
    return holdings


def undeclared(catalogue: list[asyncpg.Record]) -> set[str]:
    """Tables of the database that no service has declared."""
    known = {declared(schema).place(table) for schema in SCHEMAS for table in declared(schema).tables}
    return {f"{row['schema']}.{row['name']}" for row in catalogue} - known


def test_every_schema_of_the_topology_declares_what_it_holds() -> None:
    assert {*SOURCES, *CONSUMERS} <= {declared(schema).schema for schema in SCHEMAS}


async def test_every_table_is_declared_and_every_declared_table_is_there(database: str) -> None:
    conn = await asyncpg.connect(database)
    catalogue = await conn.fetch(OF_CATALOGUE)
    await conn.execute(bind(NEW, source="worker"))
    with_surprise = await conn.fetch(OF_CATALOGUE)
    await conn.close()
    assert undeclared(catalogue) == set()
    assert undeclared(with_surprise) == {"worker.surprise"}
    there = {f"{row['schema']}.{row['name']}" for row in catalogue}
    assert {declared(schema).place(table) for schema in SCHEMAS for table in declared(schema).tables} <= there


async def test_declared_columns_exist_and_declared_statements_are_sound(database: str) -> None:
    conn = await asyncpg.connect(database)
    for schema in SCHEMAS:
        for table in declared(schema).tables:
            if isinstance(table, Free):
                assert table.why
                continue
            columns = {
                row["column_name"]
                for row in await conn.fetch(COLUMNS, *declared(schema).place(table).split("."))
            }
            assert set(table.columns) <= columns, f"{schema}.{table.name}"
            for statement in _statements(table):
                prepared = await conn.prepare(statement.sql)
                assert len(prepared.get_parameters()) == len(statement.by)
    await conn.close()


@pytest.mark.parametrize("schema", SCHEMAS)
def test_a_table_about_a_shop_is_erased_with_the_shop(schema: str) -> None:
    assert [table.name for table in declared(schema).personal if table.erase_shop is None] == []


def _statements(table: Personal | Protocol) -> list[Statement]:
    if isinstance(table, Protocol):
        return []
    return [statement for statement in (table.find, table.erase, table.erase_shop) if statement is not None]
