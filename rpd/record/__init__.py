"""The record on disk: what a run leaves behind, and reading it back."""
