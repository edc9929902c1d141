"""Exclude patterns of rsync, in the syntax of ``.gitignore`` that rpd takes."""

from __future__ import annotations


def translated(pattern: str) -> str | None:
    """Return the same rule for rpd; None for what ``.gitignore`` cannot say (rsync's filter words).

    A pattern with a slash in its middle matches at any depth for rsync, and from the top for git; ``**/`` at its
    beginning is needless for both where no other slash follows.
    """
    if pattern.startswith(("+ ", "- ", "!", ":", ".", "P ", "R ")) and pattern[1:2] in (" ", ""):
        return None
    body = pattern.removesuffix("***")
    if body.startswith("/"):
        return body
    inner = body.removeprefix("**/")
    is_anchored_by_git = "/" in inner.removesuffix("/")
    return f"**/{inner}" if is_anchored_by_git else inner
