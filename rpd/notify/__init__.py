"""Notices: what becomes of a run, sent to a webhook, a desktop, or anything that apprise knows."""
