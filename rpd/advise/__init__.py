"""Advice: where the money of runs went, and what would have cost less."""
