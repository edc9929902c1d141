"""Exclude patterns of rsync, in the syntax of ``.gitignore`` that rpd takes."""

from __future__ import annotations


def translated(pattern: str, folder: str = "") -> str | None:
    """Return the same rule for rpd.

    None if ``.gitignore`` cannot express it (rsync's filter words), or it matches nothing.

    A pattern with a slash in its middle matches at any depth for rsync, and from the top for git; ``**/`` at
    its beginning is redundant for both if no other slash follows. If ``folder`` itself is sent, not its
    contents, rsync's top is above it, and a pattern that begins with a slash has to name it.
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
    # A comment or a negation to git, but not to rsync.
    escaped = f"\\{inner}" if inner.startswith(("#", "!")) else inner
    return f"**/{inner}" if is_anchored_by_git else escaped
