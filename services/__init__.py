"""The services, and the programs around them."""
