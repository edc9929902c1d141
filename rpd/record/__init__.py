"""The record on disk: the files that a run leaves behind, and reading them back."""
