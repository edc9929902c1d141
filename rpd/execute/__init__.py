"""LANES -> REPORTS: running nodes on pods."""
