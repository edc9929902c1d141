"""Notices about a run, sent to a webhook, the desktop, or any service that apprise supports."""
