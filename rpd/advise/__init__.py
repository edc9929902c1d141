"""Advice: where the money of runs went, and which GPUs would have cost less."""
