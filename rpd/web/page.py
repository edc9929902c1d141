"""The page: a document, with the style and the script that show it, as one HTML file that loads nothing."""

from __future__ import annotations

import base64
import hashlib
import json
from collections import Counter
from functools import cache
from html import escape
from pathlib import Path
from typing import Any

_ASSETS = Path(__file__).with_name("assets")
_SCRIPTS = ("dom", "model", "table", "timeline", "curves", "history", "parallel", "story", "live", "main")
"""In the order in which they build on each other."""
_UNSAFE = {"<": "\\u003c", ">": "\\u003e", "&": "\\u0026", "\u2028": "\\u2028", "\u2029": "\\u2029"}


@cache
def style() -> str:
    """Return the style of every page."""
    return (_ASSETS / "page.css").read_text(encoding="utf-8")


@cache
def script() -> str:
    """Return the script of every page."""
    parts = [(_ASSETS / f"{name}.js").read_text(encoding="utf-8") for name in _SCRIPTS]
    return '"use strict";\n(() => {\n' + "\n".join(parts) + "\nbegin();\n})();\n"


def policy(*, live: bool = False) -> str:
    """Return the content security policy: this style, this script, embedded pictures, and no way out.

    ``live`` lets the page ask the server it came from.
    """
    own, way_out = (" 'self'", "'self'") if live else ("", "'none'")
    return "; ".join(
        [
            "default-src 'none'",
            f"style-src {_hash(style())}",
            f"script-src {_hash(script())}",
            f"img-src data:{own}",
            f"connect-src {way_out}",
            "base-uri 'none'",
            "form-action 'none'",
        ]
    )


def _hash(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def embedded(document: Any) -> str:
    """Return a document as JSON that no HTML parser takes for markup."""
    text = json.dumps(document, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    for character, code in _UNSAFE.items():
        text = text.replace(character, code)
    return text


def render(document: dict[str, Any]) -> str:
    """Return the page of a document."""
    parts = {
        "policy": escape(policy(live=document["live"])),
        "title": escape(f"rpd run {document['title']}"),
        "summary": escape(summary(document)),
        "style": style(),
        "document": embedded(document),
        "script": script(),
    }
    text = (_ASSETS / "page.html").read_text(encoding="utf-8")
    head, *rest = text.split("{")
    filled = [head]
    for piece in rest:
        name, _, after = piece.partition("}")
        filled += [parts[name], after]
    return "".join(filled)


def summary(document: dict[str, Any]) -> str:
    """Return the sum of a document in a sentence, for viewers that run no script."""
    counts = Counter(node["outcome"] for node in document["nodes"])
    usd = sum(node["usd"] for node in document["nodes"])
    outcomes = ", ".join(f"{count} {outcome}" for outcome, count in counts.items()) or "nothing ran"
    return f"{outcomes}, ${usd:.2f}"
