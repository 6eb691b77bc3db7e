"""Answers of Shopify's Admin API that were recorded, and the queries that get their like from the sandbox."""

from pathlib import Path
from typing import Any

import orjson
import pytest

_FOLDER = Path(__file__).parents[2] / "shared" / "fixtures" / "graphql"

RECORDED = {
    "customers_catalog.json": """{ customers(first: 3) { edges { cursor node { id displayName email legacyResourceId
        locale note canDelete verifiedEmail taxExempt state numberOfOrders amountSpent { amount currencyCode }
        defaultEmailAddress { emailAddress } defaultPhoneNumber { phoneNumber } defaultAddress { address1 city
        province country zip formattedArea } createdAt updatedAt } }
        pageInfo { hasNextPage hasPreviousPage startCursor endCursor } } }""",
    "orders_catalog_next_page.json": """{ nextPage: orders(first: 1) { nodes { id name createdAt updatedAt
        displayFinancialStatus displayFulfillmentStatus tags email }
        pageInfo { hasNextPage hasPreviousPage startCursor endCursor } } }""",
    "currentAppAccessScopes.json": "{ currentAppInstallation { accessScopes { handle } } }",
    "bulkOperation_completed_poll.json": """{ bulkOperation(id: "gid://shopify/BulkOperation/1") { id status type
        errorCode createdAt completedAt objectCount rootObjectCount fileSize url partialDataUrl query } }""",
}

recordings_needed = pytest.mark.skipif(not _FOLDER.exists(), reason="the recorded answers are not here")


def recording(name: str) -> dict[str, Any]:
    """A recorded answer."""
    facts: dict[str, Any] = orjson.loads((_FOLDER / name).read_bytes())
    return facts
