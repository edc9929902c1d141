"""The redactor: replaces secrets by ``***`` in everything that is about to be written.

Every writer takes the one ``Redactor`` of its run, or ``NO_SECRETS`` where it can meet none.
"""

from __future__ import annotations

import base64
import bisect
import json
import re
import sys
import threading
import urllib.parse
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, AnyStr

MASK = "***"
SHORTEST = 4
"""Characters: anything shorter occurs in harmless text all the time and is not masked."""
SHORTEST_LINE = 6
"""Characters a single line of a multi-line secret must have to be masked by itself."""
_SHORTEST_BASE64 = 8
_UNTOUCHED = frozenset({int, float, bool, type(None)})


class Redactor:
    """Knows the secrets of a run and masks them, in the forms in which they usually leak.

    Masked are a secret itself, its JSON-escaped, ``repr``-escaped, shell-, URL- and HTML-quoted and base64 forms (also
    inside something longer that was encoded whole, such as ``user:token``), and the same of every line of one with
    many. Thread-safe.
    """

    def __init__(self, secrets: Sequence[str] = ()) -> None:
        self._lock = threading.Lock()
        self._texts: tuple[str, ...] = ()
        self._bytes: tuple[bytes, ...] = ()
        self._shortest = sys.maxsize
        """Characters of the shortest text in which anything is masked."""
        for secret in secrets:
            self.learn(secret)

    def learn(self, value: str) -> str | None:
        """Mask ``value`` from now on. Return a warning to show if it is too short to be masked, else None."""
        if not value:
            return None
        if len(value) < SHORTEST:
            return (
                f"a secret of {len(value)} characters is too short to be masked in output "
                f"(at least {SHORTEST} are needed)"
            )
        with self._lock:
            texts = {*self._texts, *_forms(value)}
            self._texts = tuple(sorted(texts))
            self._bytes = tuple(sorted(_encode(text) for text in texts))
            self._shortest = min(map(len, texts))
        return None

    def text(self, text: str) -> str:
        """Return ``text`` with every secret masked."""
        return text if len(text) < self._shortest else _masked(text, self._texts, MASK)

    def raw(self, data: bytes) -> bytes:
        """Return ``data``, which is all there is (see ``stream``), with every secret masked."""
        return _masked(data, self._bytes, MASK.encode()) if self._bytes else data

    def data(self, value: Any) -> Any:
        """Return a copy of JSON-like ``value`` with every string masked, keys too; the rest stays itself."""
        if type(value) in _UNTOUCHED:
            return value
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, bytes):
            return self.raw(value)
        if isinstance(value, Mapping):
            return {self.data(key): self.data(item) for key, item in value.items()}
        if isinstance(value, list):
            return [self.data(item) for item in value]
        if isinstance(value, tuple):
            return tuple(self.data(item) for item in value)
        return value

    def stream(self) -> RedactingStream:
        """Return a new stream for one source of bytes."""
        return RedactingStream(self)

    @property
    def patterns(self) -> tuple[bytes, ...]:
        """Every form of every secret as it appears in bytes, sorted."""
        return self._bytes


class NoRedactor(Redactor):
    """The redactor of those who meet no secret: it learns none and changes nothing."""

    def learn(self, value: str) -> None:
        """Learn nothing: the object is shared."""

    def data(self, value: Any) -> Any:
        return value


class RedactingStream:
    """Masks secrets in bytes that come in chunks, wherever a secret is cut. Used by one thread at a time.

    It holds back only a possible start of a secret: always less than the longest form of one.
    """

    def __init__(self, redactor: Redactor) -> None:
        self._redactor = redactor
        self._pending = b""
        self._covered = 0
        """Bytes at the start of ``_pending`` that belong to a secret whose mask is already out."""

    def feed(self, chunk: bytes) -> bytes:
        """Take the next bytes and return those that may be written now."""
        return self._advance(self._pending + chunk, final=False)

    def flush(self) -> bytes:
        """Return the held-back bytes; the source is at its end."""
        return self._advance(self._pending, final=True)

    def _advance(self, data: bytes, *, final: bool) -> bytes:
        patterns = self._redactor.patterns
        end = len(data) if final else _possible_start(data, patterns)
        out: list[bytes] = []
        at = covered = 0
        for start, stop in _spans(data, patterns, already=self._covered):
            if start >= end:
                break
            out.append(data[at:start])
            if start or not self._covered:
                out.append(MASK.encode())
            at, covered = min(stop, end), max(stop - end, 0)
        out.append(data[at:end])
        self._pending, self._covered = data[end:], covered
        return b"".join(out)


def _spans(data: AnyStr, patterns: Sequence[AnyStr], *, already: int = 0) -> Iterator[tuple[int, int]]:
    """Yield where secrets are, in order, overlapping ones joined; the first ``already`` items are one anyway.

    They are joined rather than replaced one after the other: of two secrets that overlap no part may stay.
    """
    spans = [(0, already)] if already else []
    for pattern in patterns:
        at = data.find(pattern)
        while at >= 0:
            spans.append((at, at + len(pattern)))
            at = data.find(pattern, at + 1)
    spans.sort()
    start = stop = 0
    for next_start, next_stop in spans:
        if next_start >= stop:
            if stop:
                yield start, stop
            start = next_start
        stop = max(stop, next_stop)
    if stop:
        yield start, stop


def _masked(data: AnyStr, patterns: Sequence[AnyStr], mask: AnyStr) -> AnyStr:
    """Return ``data`` with every pattern masked; ``data`` itself if there is none."""
    for pattern in patterns:
        if pattern in data:
            break
    else:
        return data
    out: list[AnyStr] = []
    at = 0
    for start, stop in _spans(data, patterns):
        out += (data[at:start], mask)
        at = stop
    out.append(data[at:])
    return data[:0].join(out)


def _possible_start(data: bytes, patterns: Sequence[bytes]) -> int:
    """Return where the longest end of ``data`` begins that more bytes could make a secret, or its length."""
    longest = max(map(len, patterns), default=0)
    first = {pattern[0] for pattern in patterns}
    for at in range(max(0, len(data) - longest + 1), len(data)):
        if data[at] in first:
            end = data[at:]
            after = bisect.bisect_right(
                patterns, end
            )  # they are sorted: one that goes on from here comes next
            if after < len(patterns) and patterns[after].startswith(end):
                return at
    return len(data)


NO_SECRETS = NoRedactor()

# --- the forms of a secret ---------------------------------------------------------------------------------


def _forms(value: str) -> set[str]:
    lines = [line.strip() for line in value.splitlines()]
    parts = [value, value.strip(), *(line for line in lines if len(line) >= SHORTEST_LINE)]
    return {form for part in parts if len(part) >= SHORTEST for form in _forms_of_one(part)}


def _forms_of_one(value: str) -> Iterator[str]:
    yield value
    yield from _escaped_forms(value)
    raw = _encode(value)
    for quoted in _quoted_forms(raw):
        yield quoted
        # Escapes are written in either case; letters of the secret itself are not touched.
        yield _PERCENT.sub(lambda match: match[0].lower(), quoted)
    for encoded in _base64_forms(raw):
        yield encoded
        yield encoded.replace("+", "-").replace("/", "_")


_PERCENT = re.compile("%[0-9A-F]{2}")
_UNICODE_ESCAPE = re.compile(r"\\u[0-9a-f]{4}")
_SAFE_IN_URLS = ("", "/", "!'()*", "-._~!$&'()*+,;=:@/")
"""What is left as it is: by Python, in paths, by JavaScript's encodeURIComponent, by encodeURI and curl."""
_IN_HTML = (("&", "&amp;"), ("<", "&lt;"), (">", "&gt;"))


def _escaped_forms(value: str) -> Iterator[str]:
    """Yield ``value`` as it stands in JSON, in Python's ``repr`` of texts and bytes, in a shell and in HTML."""
    for ascii_only in (True, False):
        escaped = json.dumps(value, ensure_ascii=ascii_only)[1:-1]
        yield escaped
        yield escaped.replace("/", "\\/")  # PHP, and text for a script element
        yield json.dumps(escaped)[1:-1]  # JSON in JSON
        yield _UNICODE_ESCAPE.sub(lambda match: f"\\u{match[0][2:].upper()}", escaped)
        for char in "<>&":  # Go, and again script elements
            escaped = escaped.replace(char, f"\\u{ord(char):04x}")
        yield escaped
    yield repr(value)[1:-1]
    # Next to the other kind of quote, repr escapes its own.
    yield repr(f"{value}'\"")[1:-4]
    yield ascii(value)[1:-1]
    yield repr(_encode(value))[2:-1]
    yield value.replace("'", "'\"'\"'")
    yield value.replace("'", "'\\''")
    markup = value
    for char, named in _IN_HTML:
        markup = markup.replace(char, named)
    yield markup
    for double, single in (
        ("&quot;", "&#x27;"),
        ("&#34;", "&#39;"),
        ("&quot;", "&apos;"),
        ("&quot;", "&#39;"),
    ):
        yield markup.replace('"', double).replace("'", single)


def _quoted_forms(raw: bytes) -> Iterator[str]:
    for safe in _SAFE_IN_URLS:
        yield urllib.parse.quote(raw, safe=safe)
        yield urllib.parse.quote_plus(raw, safe=safe)


def _base64_forms(raw: bytes) -> Iterator[str]:
    """Yield the base64 of ``raw``, and the part that is in the base64 of anything that contains it."""
    whole = base64.b64encode(raw).decode()
    yield whole
    yield whole.rstrip("=")
    for before in range(3):
        encoded = base64.b64encode(b"\0" * before + raw).decode()
        certain = encoded[-(-before * 8 // 6) : (before + len(raw)) * 8 // 6]
        if len(certain) >= _SHORTEST_BASE64:
            yield certain


def _encode(text: str) -> bytes:
    """Return the bytes ``text`` stood for: environment variables may hold bytes that are not UTF-8."""
    try:
        return text.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        return text.encode("utf-8", "surrogatepass")
