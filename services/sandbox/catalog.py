"""The words the sandbox store is made of: invented, with the characters that break naive JSON handling."""

FIRST_NAMES = (
    "Ada",
    "Björn",
    "Chloé",
    "Daniela",
    "Emre",
    "Farida",
    "Grace",
    "Hiro",
    "Inès",
    "Jonas",
    "Kwame",
    "Lucía",
)
LAST_NAMES = (
    "Abbott",
    "Brandt",
    "Castillo",
    "Dubois",
    "Eriksen",
    "Fjällström",
    "Greene",
    "Haddad",
    "Ito",
    "O'Neill",
)
STREETS = (
    "Alder Lane",
    "Birch Street",
    "Harbour Road",
    "Kingfisher Way",
    "Mill Yard 3/4",
    "Old Quay",
    "Vine & Main",
)

PLACES = (
    ("Portland", "Oregon", "OR", "97205", "United States", "US", 45.519, -122.693),
    ("Montréal", "Quebec", "QC", "H2X 1Y4", "Canada", "CA", 45.513, -73.571),
    ("Leeds", "England", "ENG", "LS1 4AP", "United Kingdom", "GB", 53.797, -1.546),
    ("Hamburg", None, None, "20457", "Germany", "DE", 53.543, 9.994),
    ("Melbourne", "Victoria", "VIC", "3000", "Australia", "AU", -37.814, 144.963),
)
"""City, province, province code, postcode, country, country code, latitude, longitude."""

MARKETS = (
    ("USD", "America/Los_Angeles", -8, "(GMT-08:00) Pacific Time (US & Canada)"),
    ("CAD", "America/Toronto", -5, "(GMT-05:00) Eastern Time (US & Canada)"),
    ("GBP", "Europe/London", 0, "(GMT+00:00) London"),
    ("EUR", "Europe/Berlin", 1, "(GMT+01:00) Berlin"),
    ("AUD", "Australia/Melbourne", 10, "(GMT+10:00) Melbourne"),
)
"""Currency, time zone, hours from UTC, Shopify's label for the zone; one for each of `PLACES`."""

PRODUCTS = (
    ("Tea Towel, Herringbone", "Linen & Loom", "Kitchen", 1800),
    ("Enamel Mug 350 ml / 12 oz", "Salt & Pine", "Kitchen", 1450),
    ("Wool Blanket <Fjord>", "Nørdlys", "Home", 12900),
    ("Beeswax Candle", "Hive & Hearth", "Home", 2250),
    ("Canvas Tote", "Linen & Loom", "Bags", 3200),
    ("Waxed Rucksack 22 L", "Överland", "Bags", 18500),
    ("Merino Socks, 2 pairs", "Nørdlys", "Clothing", 2900),
    ("Rain Jacket “Drizzle”", "Överland", "Clothing", 21000),
    ("Field Notebook A6 / dotted", "Paper Mill", "Stationery", 900),
    ("Brass Fountain Pen", "Paper Mill", "Stationery", 7400),
)
"""Title, vendor, type, price in cents."""

COLOURS = ("Ash", "Clay", "Ink", "Moss", "Oat", "Rust")
SIZES = ("S", "M", "L")
GATEWAYS = ("shopify_payments", "paypal", "bogus")
LANDING_PAGES = ("/", "/collections/new?utm_source=mail&utm_medium=link", "/products/enamel-mug?ref=a&b=<c>")
CANCEL_REASONS = ("customer", "inventory", "fraud", "declined", "other")
NOTES = (None, None, None, "Please leave it with the neighbour / no. 12", "Gift & no receipt, thanks 🎁")
