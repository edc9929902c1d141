"""Text that cannot act on the terminal it is printed on."""

from __future__ import annotations

import codecs
import re

from rpd.values.late_pattern import late_pattern

_STRING = r"(?:[^\x00-\x1f\x7f-\x9f]*(?:\x07|\x1b\\|\x9c))?"
# CSI (colours, cursor), then OSC, DCS, SOS, PM and APC (titles, clipboard, links), each in seven and in eight
# bits; other escapes; the rest of C0 and C1; characters that reorder the text around them (U+202A-E,
# U+2066-9) or end a line. No branch can read past the next control character, so the time is linear in the
# text.
_CONTROL = late_pattern(
    r"(?:\x1b\[|\x9b)[0-?]*[ -/]*[@-~]"
    rf"|(?:\x1b[\]PX^_]|[\x90\x98\x9d-\x9f]){_STRING}"
    r"|\x1b[ -/]*[0-~]?"
    r"|[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069]"
)
_COLOR = late_pattern(r"\x1b\[[0-9;:]*m")
_IN_LINE = late_pattern(r"\x1b\[[0-9;:]*m|\x1b\[[0-2]?K|[\r\x08]")
"""What a progress bar needs: colours, erasing to the end of the line, going back in it."""
_BEGUN = late_pattern(r"\x1b(?:\[[0-?]*[ -/]*|[\]PX^_][^\x00-\x1f\x7f-\x9f]*|[ -/]*)\Z")
RESET = "\x1b[0m"
_LONGEST_REST = 4096
_URL_USER = late_pattern(r"(?<=://)[^/@\s]+@")


def without_passwords(text: str) -> str:
    """Return ``text`` without the names and passwords that addresses in it begin with."""
    return _URL_USER.sub("", text)


def plain(text: str) -> str:
    """Return ``text`` without anything a terminal acts on; newlines and tabs stay."""
    return text if _is_harmless(text) else _CONTROL.sub("", text)


def colored(text: str) -> str:
    """Return ``text`` with its colours and without anything else a terminal acts on; it ends in no colour."""
    if _is_harmless(text):
        return text
    kept = _CONTROL.sub(_color_only, text)
    last = kept.rfind("\x1b[")
    ends_plain = last < 0 or kept.startswith(("\x1b[0m", "\x1b[m"), last)
    return kept if ends_plain else f"{kept}{RESET}"


def _is_harmless(text: str) -> bool:
    return text.isprintable() or text.replace("\n", "").replace("\t", "").isprintable()


def _color_only(match: re.Match[str]) -> str:
    return match[0] if _COLOR.fullmatch(match[0]) else ""


def _in_line_only(match: re.Match[str]) -> str:
    return match[0] if _IN_LINE.fullmatch(match[0]) else ""


class TerminalBytes:
    """A program's raw output on its way to a terminal: its colours and progress bars pass, other controls do not."""

    def __init__(self) -> None:
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._rest = ""

    def feed(self, data: bytes) -> str:
        """Take the next bytes and return the printable text; an incomplete escape sequence waits."""
        text = self._rest + self._decoder.decode(data)
        at = _unfinished_at(text)
        text, self._rest = text[:at], text[at:]
        return _CONTROL.sub(_in_line_only, text)

    def flush(self) -> str:
        """Return the waiting rest, and end any colour that is on."""
        rest, self._rest = self._rest, ""
        return f"{_CONTROL.sub(_in_line_only, rest)}{RESET}"


def _unfinished_at(text: str) -> int:
    """Return where an escape sequence starts that may continue in the next chunk.

    The length of ``text`` if none does.
    """
    at = text.rfind("\x1b", max(0, len(text) - _LONGEST_REST))
    return at if at >= 0 and _BEGUN.match(text, at) else len(text)
