"""Search: studies whose trials are nodes. A plugin over the hooks, loaded with the first job that has the mark."""
