"""Exclude patterns of rsync, in the syntax of ``.gitignore`` that rpd takes."""

from __future__ import annotations


def translated(pattern: str, folder: str = "") -> str | None:
    """Return the same rule for rpd; None for what ``.gitignore`` cannot say (filter words of rsync's), or fits nothing.

    A pattern with a slash in its middle matches at any depth for rsync, and from the top for git; ``**/`` at its
    beginning is needless for both where no other slash follows. Where ``folder`` itself is sent, not what is in it,
    rsync's top is above it, and a pattern that begins with a slash has to name it.
    """
    if pattern.startswith(("+ ", "- ", "!", ":", ".", "P ", "R ")) and pattern[1:2] in (" ", ""):
        return None
    body = pattern.removesuffix("***")
    if body.startswith("/"):
        if folder:
            inner = body.removeprefix(f"/{folder}/")
            return f"/{inner}" if inner not in (body, "") else None
        return body
    inner = body.removeprefix("**/")
    is_anchored_by_git = "/" in inner.removesuffix("/")
    # A comment and a negation for git, and nothing of the kind for rsync.
    made = f"\\{inner}" if inner.startswith(("#", "!")) else inner
    return f"**/{inner}" if is_anchored_by_git else made
