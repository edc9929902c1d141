"""Nodes that need nodes: which cases meet, what must run first, who may start now, and what each one left."""
