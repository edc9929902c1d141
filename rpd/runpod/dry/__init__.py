"""The providers of dry runs: they rent nothing."""
