"""Hand-over: gives the results of nodes to plugins that store them elsewhere."""
