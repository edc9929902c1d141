"""Preludes: shell text put before every command of a job, or before every command on a pod."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(slots=True)
class Prelude:
    """Variables that commands have, and files that are sourced before them; path -> whether it has to be there."""

    env: dict[str, str] = field(default_factory=dict)
    files: dict[str, bool] = field(default_factory=dict)

    def under(self, other: Prelude) -> Prelude:
        """Return this prelude followed by ``other``, whose variables count more."""
        return Prelude({**self.env, **other.env}, {**self.files, **other.files})

    @property
    def lines(self) -> str:
        """The sh lines that source the files; what is plain ``NAME=VALUE`` in them is exported as well."""
        return "".join(_source(path, is_required=required) for path, required in self.files.items())


def _source(path: str, *, is_required: bool) -> str:
    quoted = shlex.quote(path)
    source = f"{{ set -a; . {quoted}; set +a; }}"
    if not is_required:
        return f"[ ! -r {quoted} ] || {source}\n"
    missing = shlex.quote(f"rpd: there is no file {path} to source")
    return f"[ -r {quoted} ] || {{ echo {missing} >&2; exit 66; }}\n{source}\n"


def prelude_of(pod_wide: Prelude, own: Mapping[str, Prelude], pod: str) -> Prelude:
    """Return what commands of a node on ``pod`` begin with."""
    return pod_wide.under(own[pod]) if pod in own else pod_wide
