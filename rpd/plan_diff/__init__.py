"""Compares the nodes of two trees: new, changed, cached or gone, and their costs."""
