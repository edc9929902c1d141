"""Notices: what becomes of a run, told to a webhook, a desktop, or anything that apprise knows."""
