"""From the text of a flag, variable or key to the value it stands for.

Each function raises ValueError with the rule to show.
"""

from __future__ import annotations

from rpd.errors import Cause

CAUSES = tuple(cause.value for cause in Cause)
_MOST_VALUES, _MOST_DIGITS = 1_000_000, 18
"""... of a range that a sweep goes over."""
REPORT_CHARS = "fEsxXupPwaAN"


def positive_int(text: str) -> int:
    """Read a whole number from 1."""
    from rpd.values.number_bounds import read_whole

    return read_whole(text, least=1)


def whole(text: str) -> int:
    """Read a whole number from 0."""
    from rpd.values.number_bounds import read_whole

    return read_whole(text, least=0)


def count(text: str) -> int:
    """Read a whole number from 0."""
    from rpd.values.number_bounds import read_whole

    try:
        return read_whole(text, least=0)
    except ValueError as error:
        raise ValueError(f"{error} (0: all)") from None


def port(text: str) -> int:
    """Read a port number."""
    from rpd.values.number_bounds import read_whole

    try:
        return read_whole(text, least=0, most=65_535)
    except ValueError:
        raise ValueError("expected a port number") from None


def forward(text: str) -> tuple[int, int]:
    """Read ``8888`` or ``8888:80`` as the ports of this machine and of the pod."""
    local, colon, remote = text.partition(":")
    if not local.isdigit() or (colon and not remote.isdigit()):
        raise ValueError("expected PORT or PORT:REMOTE")
    return port(local), port(remote or local)


def money(text: str) -> float:
    """Read an amount of dollars above 0."""
    try:
        value = float(text.removeprefix("$"))
    except ValueError:
        raise ValueError("expected an amount in dollars") from None
    from rpd.values.number_bounds import MOST_USD

    if not value > 0:
        raise ValueError("expected an amount in dollars > 0")
    if value > MOST_USD:
        raise ValueError(f"expected an amount in dollars <= {MOST_USD:,}")
    return value


def percent(text: str) -> float:
    """Read a part of something, ``30%``, as a number from 0 to 1."""
    try:
        value = float(text.removesuffix("%")) / 100
    except ValueError:
        raise ValueError("expected a percentage such as 30%") from None
    if not 0 <= value <= 1:
        raise ValueError("expected a percentage from 0% to 100%")
    return value


def cloud(text: str) -> str:
    """Read the name of a cloud in any case: RunPod's own are upper case, and both together are ``ALL`` there."""
    name = text.lower()
    return "any" if name == "all" else name


def duration(text: str) -> float:
    """Read a duration above 0 in seconds."""
    from rpd.values.duration import parse_duration

    return parse_duration(text)


def age(text: str) -> float:
    """Read how long ago something was, in seconds."""
    from rpd.values.duration import parse_duration
    from rpd.values.number_bounds import MOST_AGE_SECONDS

    return parse_duration(text, most=MOST_AGE_SECONDS)


def minutes(text: str) -> float:
    """Read a duration in seconds; a number without a unit is minutes."""
    from rpd.values.duration import RULE, RULE_OF_MINUTES

    try:
        return duration(text if text[-1:].isalpha() else f"{text}m")
    except ValueError as error:
        raise ValueError(str(error).replace(RULE, RULE_OF_MINUTES)) from None


def seconds(text: str) -> float:
    """Read a duration in seconds that may be 0."""
    return 0.0 if text.strip() == "0" else duration(text)


def pair(text: str) -> tuple[str, str]:
    """Read ``NAME=VALUE``."""
    name, equals, value = text.partition("=")
    if not equals or not name.strip():
        raise ValueError("expected NAME=VALUE")
    return name.strip(), value


def sweep(text: str) -> tuple[str, tuple[str, ...]]:
    """Read ``lr=0.1,0.01`` or ``seed=1..5`` (both ends included), or a mixture of the two."""
    name, listed = pair(text)
    values: list[str] = []
    for part in listed.split(","):
        first, dots, last = part.partition("..")
        if dots and first.lstrip("-").isdigit() and last.lstrip("-").isdigit():
            if max(len(first), len(last)) > _MOST_DIGITS or int(last) - int(first) >= _MOST_VALUES:
                raise ValueError(f"expected a range of at most {_MOST_VALUES:,} values")
            if int(first) > int(last):
                raise ValueError("expected a range that counts up")
            values.extend(map(str, range(int(first), int(last) + 1)))
        else:
            values.append(part.strip())
    if not all(values):
        raise ValueError("expected NAME=VALUE,VALUE or NAME=FIRST..LAST")
    return name, tuple(values)


def causes(text: str) -> tuple[str, ...]:
    """Read causes of a non-pass, or ``all`` of them."""
    if text == "all":
        return CAUSES
    names = tuple(name.strip() for name in text.split(","))
    if not set(names) <= set(CAUSES):
        raise ValueError(f"expected all, or any of {', '.join(CAUSES)}")
    return names


def python_file(text: str) -> str:
    """Read the name of a Python file that can be imported, without a folder."""
    if not text.endswith(".py") or not text.removesuffix(".py").isidentifier():
        raise ValueError("expected the name of a Python file, without a folder (such as rpd_conftest.py)")
    return text


def report_chars(text: str) -> str:
    """Read the letters of ``-r``."""
    if not text or set(text) - set(REPORT_CHARS):
        raise ValueError(f"expected any letters of {REPORT_CHARS}")
    return text


def megabytes(text: str) -> int:
    """Read a size such as ``8GB`` or ``500 MB``."""
    from rpd.values.number_bounds import MOST_GB

    words = text.strip().upper().removesuffix("B")
    unit = {"M": 1, "G": 1_000, "T": 1_000_000}.get(words[-1:], 0)
    try:
        size = round(float(words[:-1]) * unit) if len(words) <= 12 else 0
    except (ValueError, OverflowError):
        size = 0
    if not 1 <= size <= MOST_GB * 1000:
        raise ValueError("expected a size such as 8GB or 500MB")
    return size


def lifecycle(text: str) -> str:
    """Read which of RunPod's two interfaces rents pods."""
    if text not in ("sdk", "rest", "auto"):
        raise ValueError("expected sdk, rest or auto")
    return text


def ranking(text: str) -> str:
    """Read ``NAME`` or ``NAME:desc``; it stays a text."""
    from rpd.values.sort_order import Ranking

    Ranking.parse(text)
    return text


def names(text: str) -> tuple[str, ...]:
    """Return the names in a list with commas; those in parentheses stay together."""
    parts = tuple(part.strip() for part in text.split(","))
    if not all(parts):
        raise ValueError("expected names separated by commas")
    return parts
