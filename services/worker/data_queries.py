"""What is asked of the Admin API for the data endpoints: few fields in a list, all of one thing (SHOPIFY 6.6).

A page of 250 and one thing with 250 parts stay below the 1,000 points that a query may cost.
"""

_BAG = "{ shopMoney { amount currencyCode } presentmentMoney { amount currencyCode } }"
_PAGE = "pageInfo { hasNextPage endCursor }"
_ASKED = "$first: Int!, $after: String, $query: String"
_NEWEST = "first: $first, after: $after, query: $query, sortKey: UPDATED_AT, reverse: true"

_PRODUCT = """id title handle status vendor productType tags totalInventory createdAt updatedAt publishedAt"""
_VARIANT = """id title sku barcode position price compareAtPrice inventoryQuantity inventoryItem { id }
createdAt updatedAt"""
_ORDER = f"""id name createdAt processedAt updatedAt cancelledAt cancelReason closedAt test tags currencyCode
displayFinancialStatus displayFulfillmentStatus totalPriceSet {_BAG} currentTotalPriceSet {_BAG}
subtotalPriceSet {_BAG} totalTaxSet {_BAG} totalDiscountsSet {_BAG} totalRefundedSet {_BAG} customer {{ id }}"""
_LINE = f"""id name sku quantity currentQuantity originalUnitPriceSet {_BAG} discountedTotalSet {_BAG}
product {{ id }} variant {{ id }}"""
_TRANSACTION = f"""id kind status gateway amountSet {_BAG} createdAt processedAt parentTransaction {{ id }} test
errorCode"""
_CUSTOMER = """id displayName firstName lastName state locale tags numberOfOrders
amountSpent { amount currencyCode } defaultEmailAddress { emailAddress } defaultPhoneNumber { phoneNumber }
createdAt updatedAt"""
_ADDRESS = "name company address1 address2 city zip province provinceCode country countryCodeV2 phone"

PRODUCTS = f"query DataProducts({_ASKED}) {{ products({_NEWEST}) {{ nodes {{ {_PRODUCT} }} {_PAGE} }} }}"
PRODUCT = f"""query DataProduct($id: ID!) {{ product(id: $id) {{ {_PRODUCT} description
variants(first: 250) {{ nodes {{ {_VARIANT} }} pageInfo {{ hasNextPage }} }} }} }}"""
ORDERS = f"query DataOrders({_ASKED}) {{ orders({_NEWEST}) {{ nodes {{ {_ORDER} }} {_PAGE} }} }}"
ORDER = f"""query DataOrder($id: ID!) {{ order(id: $id) {{ {_ORDER} note
lineItems(first: 250) {{ nodes {{ {_LINE} }} pageInfo {{ hasNextPage }} }} }} }}"""
TRANSACTIONS = (
    f"query DataTransactions($id: ID!) {{ order(id: $id) {{ id transactions {{ {_TRANSACTION} }} }} }}"
)
CUSTOMERS = f"query DataCustomers({_ASKED}) {{ customers({_NEWEST}) {{ nodes {{ {_CUSTOMER} }} {_PAGE} }} }}"
CUSTOMER = f"""query DataCustomer($id: ID!) {{ customer(id: $id) {{ {_CUSTOMER} note
addressesV2(first: 100) {{ nodes {{ {_ADDRESS} }} pageInfo {{ hasNextPage }} }} }} }}"""
