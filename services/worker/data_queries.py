"""What is asked of the Admin API for the data endpoints: few fields in a list, all of one thing (SHOPIFY 6.6).

A page of 250 and one thing with 250 parts stay below the 1,000 points that a query may cost.
"""

_BAG = "{ shopMoney { amount currencyCode } presentmentMoney { amount currencyCode } }"
_PAGE = "pageInfo { hasNextPage endCursor }"
_ASKED = "$first: Int!, $after: String, $query: String"
_NEWEST = "first: $first, after: $after, query: $query, sortKey: UPDATED_AT, reverse: true"

PRODUCT_FIELDS = (
    """id title handle status vendor productType tags totalInventory createdAt updatedAt publishedAt"""
)
VARIANT_FIELDS = """id title sku barcode position price compareAtPrice inventoryQuantity inventoryItem { id }
createdAt updatedAt"""
ORDER_FIELDS = f"""id name createdAt processedAt updatedAt cancelledAt cancelReason closedAt test tags currencyCode
displayFinancialStatus displayFulfillmentStatus totalPriceSet {_BAG} currentTotalPriceSet {_BAG}
subtotalPriceSet {_BAG} totalTaxSet {_BAG} totalDiscountsSet {_BAG} totalRefundedSet {_BAG} customer {{ id }}"""
LINE_FIELDS = f"""id name sku quantity currentQuantity originalUnitPriceSet {_BAG} discountedTotalSet {_BAG}
product {{ id }} variant {{ id }}"""
TRANSACTION_FIELDS = f"""id kind status gateway amountSet {_BAG} createdAt processedAt parentTransaction {{ id }} test
errorCode"""
CUSTOMER_FIELDS = """id displayName firstName lastName state locale tags numberOfOrders
amountSpent { amount currencyCode } defaultEmailAddress { emailAddress } defaultPhoneNumber { phoneNumber }
createdAt updatedAt"""
ADDRESS_FIELDS = "name company address1 address2 city zip province provinceCode country countryCodeV2 phone"

PRODUCTS = (
    f"query DataProducts({_ASKED}) {{ products({_NEWEST}) {{ nodes {{ {PRODUCT_FIELDS} }} {_PAGE} }} }}"
)
PRODUCT = f"""query DataProduct($id: ID!) {{ product(id: $id) {{ {PRODUCT_FIELDS} description
variants(first: 250) {{ nodes {{ {VARIANT_FIELDS} }} pageInfo {{ hasNextPage }} }} }} }}"""
ORDERS = f"query DataOrders({_ASKED}) {{ orders({_NEWEST}) {{ nodes {{ {ORDER_FIELDS} }} {_PAGE} }} }}"
ORDER = f"""query DataOrder($id: ID!) {{ order(id: $id) {{ {ORDER_FIELDS} note
lineItems(first: 250) {{ nodes {{ {LINE_FIELDS} }} pageInfo {{ hasNextPage }} }} }} }}"""
TRANSACTIONS = (
    f"query DataTransactions($id: ID!) {{ order(id: $id) {{ id transactions {{ {TRANSACTION_FIELDS} }} }} }}"
)
CUSTOMERS = (
    f"query DataCustomers({_ASKED}) {{ customers({_NEWEST}) {{ nodes {{ {CUSTOMER_FIELDS} }} {_PAGE} }} }}"
)
CUSTOMER = f"""query DataCustomer($id: ID!) {{ customer(id: $id) {{ {CUSTOMER_FIELDS} note
addressesV2(first: 100) {{ nodes {{ {ADDRESS_FIELDS} }} pageInfo {{ hasNextPage }} }} }} }}"""
