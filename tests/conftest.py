"""For all tests: the plugin that rpd's own users test with."""

pytest_plugins = ["rpd.testing"]
