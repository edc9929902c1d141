"""The result of one check of ``rpd doctor``."""

from __future__ import annotations

from enum import StrEnum

from rpd.values.frozen import frozen


class Status(StrEnum):
    """How bad it is."""

    OK = "ok"
    WARN = "warn"
    """A run may do well, or not."""
    FAIL = "fail"
    """A run cannot do well."""


@frozen
class Finding:
    """One line: the check, its result, and (``advice``) what to do about it."""

    check: str
    status: Status
    text: str
    advice: str = ""

    def __str__(self) -> str:
        text = f"{self.text}: {self.advice}" if self.advice else self.text
        return f"{self.status:<4}  {self.check:<12}  {text}"


def ok(check: str, text: str) -> Finding:
    """Return a finding without worry."""
    return Finding(check=check, status=Status.OK, text=text)


def warn(check: str, text: str, advice: str = "") -> Finding:
    """Return a finding that may do harm."""
    return Finding(check=check, status=Status.WARN, text=text, advice=advice)


def fail(check: str, text: str, advice: str = "") -> Finding:
    """Return a finding that will do harm."""
    return Finding(check=check, status=Status.FAIL, text=text, advice=advice)
