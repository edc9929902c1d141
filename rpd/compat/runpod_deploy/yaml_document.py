"""A YAML document whose values know where they stand, so that every problem names its line and key."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from rpd.errors import CollectionError, UsageError
from rpd.user_text import read_bytes
from rpd.values.suggestions import closest

MOST_BYTES = 4_000_000
"""A configuration is read whole; nobody writes one this large."""


class Problems:
    """The problems of one file, in the order in which they were found; reading continues after each."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._mistakes: dict[str, int] = {}

    def add(self, line: int, key: str, text: str) -> None:
        """Record a problem with the value of ``key``; ``text`` says what was expected and what to write instead."""
        where = f"{self._path.name}:{line}: {key}: " if key else f"{self._path.name}:{line}: "
        self._mistakes.setdefault(f"{where}{text}", line)

    def check(self) -> None:
        """Raise CollectionError if there is any problem, with all of them."""
        if self._mistakes:
            raise CollectionError(
                "\n".join(self._mistakes), file=str(self._path), line=min(self._mistakes.values())
            )


class Value:
    """One value of the document. The methods that read it note a problem and return a stand-in where it is wrong."""

    def __init__(self, node: Any, key: str, problems: Problems, construct: Any) -> None:
        self._node = node
        self._key = key
        self._problems = problems
        self._construct = construct

    @property
    def line(self) -> int:
        """The line it begins in, from 1."""
        return int(self._node.start_mark.line) + 1

    @property
    def first_text_line(self) -> int:
        """The line in which the text of a block scalar (``|`` or ``>``) begins; else the line of the value."""
        return self.line + (self._node.style in ("|", ">"))

    @property
    def key(self) -> str:
        """The path of keys that leads to it: ``staging[0].source``."""
        return self._key

    def wrong(self, text: str) -> None:
        """Record that the value is wrong."""
        self._problems.add(self.line, self._key, text)

    def text(self, *, default: str = "") -> str:
        """Return a text that is not empty."""
        value = self._plain()
        if not isinstance(value, str):
            hint = f'; write it in quotes: "{self._node.value}"' if isinstance(value, int | float) else ""
            self.wrong(f"expected a string, got {self._shown()}{hint}")
            return default
        if not value.strip():
            self.wrong("expected a string that is not empty")
        return value

    def whole(self, *, minimum: int) -> int:
        """Return a whole number of at least ``minimum``."""
        value = self._plain()
        if not isinstance(value, int) or isinstance(value, bool) or value < minimum:
            self.wrong(f"expected a whole number >= {minimum}, got {self._shown()}")
            return max(1, minimum)
        return value

    def number(self) -> float:
        """Return a finite number above 0."""
        value = self._plain()
        if not isinstance(value, int | float) or isinstance(value, bool) or not 0 < value < float("inf"):
            self.wrong(f"expected a number > 0, got {self._shown()}")
            return 1.0
        return float(value)

    def flag(self) -> bool:
        """Return true or false."""
        value = self._plain()
        if not isinstance(value, bool):
            self.wrong(f"expected true or false, got {self._shown()}")
            return False
        return value

    def items(self) -> Iterator[Value]:
        """Yield the entries of a list; nothing for an empty value, as ``setup:`` without entries."""
        if self._is("null"):
            return
        if not self._is("seq"):
            self.wrong(f"expected a list, got {self._shown()}")
            return
        for number, node in enumerate(self._node.value):
            yield Value(node, f"{self._key}[{number}]", self._problems, self._construct)

    def texts(self) -> tuple[str, ...]:
        """Return a list of texts."""
        return tuple(item.text() for item in self.items())

    def mapping(self, *allowed: str) -> Mapping[str, Value]:
        """Return the entries of a mapping by key; ``allowed`` are the keys there may be (none given: any)."""
        if not self._is("map"):
            self.wrong(f"expected keys and values, got {self._shown()}")
            return {}
        values: dict[str, Value] = {}
        for key_node, node in self._node.value:
            name = str(key_node.value)
            line = int(key_node.start_mark.line) + 1
            path = f"{self._key}.{name}" if self._key else name
            if allowed and name not in allowed:
                close = closest(name, allowed)
                meant = f"did you mean {close}?" if close else f"the keys are {', '.join(allowed)}"
                self._problems.add(line, path, f"unknown key; {meant}")
            elif name in values:
                self._problems.add(line, path, "the key appears twice")
            else:
                values[name] = Value(node, path, self._problems, self._construct)
        return values

    @property
    def is_mapping(self) -> bool:
        """Whether it has keys and values."""
        return self._is("map")

    def peek(self) -> Mapping[str, Value]:
        """Return the entries of a mapping by key, without reporting problems."""
        return {
            str(key.value): Value(node, f"{self._key}.{key.value}", self._problems, self._construct)
            for key, node in self._node.value
        }

    def _is(self, kind: str) -> bool:
        return bool(self._node.tag == f"tag:yaml.org,2002:{kind}")

    def _plain(self) -> object:
        if self._node.id != "scalar":
            return self._node
        try:
            return self._construct(self._node)
        except Exception:  # noqa: BLE001 - a date that is none, a tag nobody knows: not a value of these files
            return None

    def _shown(self) -> str:
        kind = {"sequence": "a list", "mapping": "keys and values"}.get(self._node.id)
        return kind or repr(self._node.value or None)


def read(path: Path, problems: Problems) -> Value:
    """Return the root of the document. Raise CollectionError if it is no YAML, UsageError without PyYAML."""
    try:
        import yaml
    except ImportError:
        raise UsageError(
            f"{path.name}: reading YAML needs the package PyYAML; install it with: pip install 'rpd[yaml]'"
        ) from None
    try:
        raw = read_bytes(path, MOST_BYTES + 1)
        if len(raw) > MOST_BYTES:
            raise CollectionError(f"{path.name} is larger than {MOST_BYTES // 1_000_000} MB", file=str(path))
        loader = yaml.SafeLoader(raw.decode("utf-8-sig"))
        node: Any = loader.get_single_node()
        if node is not None:
            _flatten(loader, node, depth=0)
    except (yaml.YAMLError, UnicodeDecodeError, OSError, RecursionError) as error:
        mark = getattr(error, "problem_mark", None)
        line = int(mark.line) + 1 if mark else 1
        said = getattr(error, "problem", None) or str(error).splitlines()[0]
        raise CollectionError(
            f"{path.name}:{line}: not valid YAML: {said}", file=str(path), line=line
        ) from None
    if node is None:
        raise CollectionError(f"{path.name} is empty", file=str(path), line=1)
    return Value(node, "", problems, loader.construct_object)


MOST_DEPTH = 20


def _flatten(loader: Any, node: Any, depth: int) -> None:
    """Resolve merge keys (``<<: *base``) as YAML's own loader does, wherever these files have mappings."""
    if depth > MOST_DEPTH:
        return
    if node.id == "mapping":
        loader.flatten_mapping(node)
        for _, value in node.value:
            _flatten(loader, value, depth + 1)
    elif node.id == "sequence":
        for value in node.value:
            _flatten(loader, value, depth + 1)
