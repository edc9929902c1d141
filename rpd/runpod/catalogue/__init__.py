"""GPU types, prices, stock and images: what is on offer, and in which order to ask for it."""
