"""One node from set-up to report: its steps, its output, its verdict."""
