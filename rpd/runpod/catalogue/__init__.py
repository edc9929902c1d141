"""GPU types, prices, stock and images: the offers, and the order in which to try them."""
