"""Questions over all past runs: nodes as flat rows, an expression to choose them, groups, totals, and SQL."""
