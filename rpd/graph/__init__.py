"""Nodes that need nodes: how cases are matched, what runs first, what may start now, and each one's results."""
