"""Preludes: shell text that runs before every command of a job, or before every command on a pod."""

from __future__ import annotations

import shlex
from collections.abc import Mapping

from rpd.values.mutable import fresh, mutable


@mutable
class Prelude:
    """Variables of commands, and files sourced before them; ``files`` maps a path to whether it must exist."""

    env: dict[str, str] = fresh(factory=dict)
    files: dict[str, bool] = fresh(factory=dict)

    def under(self, inner: Prelude) -> Prelude:
        """Return this prelude followed by ``inner``, whose variables win."""
        return Prelude(env={**self.env, **inner.env}, files={**self.files, **inner.files})

    @property
    def lines(self) -> str:
        """The sh lines that source the files; plain ``NAME=VALUE`` lines in them are exported too."""
        return "".join(_source(path, is_required=required) for path, required in self.files.items())


def _source(path: str, *, is_required: bool) -> str:
    quoted = shlex.quote(path)
    source = f"{{ set -a; . {quoted}; set +a; }}"
    if not is_required:
        return f"[ ! -r {quoted} ] || {source}\n"
    missing = shlex.quote(f"rpd: cannot source {path}: no such file")
    return f"[ -r {quoted} ] || {{ echo {missing} >&2; exit 66; }}\n{source}\n"


def prelude_of(pod_wide: Prelude, own: Mapping[str, Prelude], pod: str) -> Prelude:
    """Return the prelude of a node's commands on ``pod``."""
    return pod_wide.under(own[pod]) if pod in own else pod_wide
