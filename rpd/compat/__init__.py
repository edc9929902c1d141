"""Formats of other tools, each a plugin that turns such a file into jobs. The core knows none of them."""
