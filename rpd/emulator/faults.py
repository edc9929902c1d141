"""Faults: a list of rules for things to go wrong, which calls and pods are held against.

A rule is ``{"kind": …, "times": N or null, "after": N, "match": {…}, …}``. Of the calls and pods that match,
it lets ``after`` pass, then strikes ``times`` times (null, the default: until cleared). ``match`` compares,
with shell patterns, any of ``operation`` (create, stop, resume, terminate, get, list, gpus, datacenters, or a
GraphQL field), ``name``, ``pod``, ``gpu``, ``dc``, ``cloud`` (secure, community), ``cluster`` and ``rank``
(of a member) and ``face`` (graphql, rest); a list means any of them.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Any

Subject = Mapping[str, str]

API_KINDS: dict[str, dict[str, Any]] = {
    "unauthorized": {},
    "forbidden-html": {"when": "before"},
    "gone": {},
    "hiccup": {},
    "anonymous": {},
    "rate-limit": {"retry_after": 1, "when": "before"},
    "server-error": {"status": 502, "when": "before"},
    "reset": {"when": "before"},
    "slow": {"seconds": 1.0, "when": "after"},
    "error": {"message": "", "code": "INTERNAL_SERVER_ERROR", "when": "before"},
}
"""Faults of an answer. ``when``: before or after the call took effect."""

STATE_KINDS: dict[str, dict[str, Any]] = {
    "stock-out": {},
    "host-full": {},
    "insufficient-balance": {},
    "not-admin": {},
}
"""Faults of the account's world: no stock for what matches, no GPU left on the host of a stopped pod, no money, a key
without the role that may create and delete clusters."""

BOOT_KINDS: dict[str, dict[str, Any]] = {
    "slow-boot": {"seconds": 2.0},
    "no-runtime": {},
    "no-sshd": {},
    "late-sshd": {"seconds": 1.0},
    "zero-gpus": {},
    "crash-loop": {},
    "refuse-key": {},
    "disk-full": {"size_mb": 8},
}
"""Faults of a pod from the moment it starts (again)."""

LIVE_KINDS: dict[str, dict[str, Any]] = {
    "drop-ssh": {"after_bytes": 0, "down_seconds": 0.0},
    "lose-host": {"status": "RUNNING"},
    "outbid": {},
}
"""Faults of a running pod: they strike matching pods at once, and with ``"on": "boot"`` each pod when it has booted."""

_KINDS = {
    **API_KINDS,
    **STATE_KINDS,
    **BOOT_KINDS,
    **{kind: {"on": "now", **p} for kind, p in LIVE_KINDS.items()},
}
_MATCHABLE = ("operation", "name", "pod", "gpu", "dc", "cloud", "cluster", "rank", "face")


@dataclass(slots=True, kw_only=True)
class Rule:
    """One rule; ``seen`` and ``struck`` count."""

    kind: str
    times: int | None = None
    after: int = 0
    match: dict[str, Any] = field(default_factory=dict)
    params: dict[str, Any] = field(default_factory=dict)
    seen: int = 0
    struck: int = 0

    @classmethod
    def parse(cls, values: Mapping[str, Any]) -> Rule:
        """Read a rule. Raise ValueError with the expected form."""
        params = dict(values)
        kind = params.pop("kind", None)
        if kind not in _KINDS:
            raise ValueError(f"kind: expected one of {', '.join(sorted(_KINDS))}, got {kind!r}")
        times, after, match = params.pop("times", None), params.pop("after", 0), params.pop("match", {})
        if unknown := set(match) - set(_MATCHABLE):
            raise ValueError(
                f"match: expected any of {', '.join(_MATCHABLE)}, got {', '.join(sorted(unknown))}"
            )
        if unknown := set(params) - set(_KINDS[kind]):
            allowed = ", ".join(_KINDS[kind]) or "no parameters"
            raise ValueError(f"{kind}: expected {allowed}, got {', '.join(sorted(unknown))}")
        return cls(kind=kind, times=times, after=after, match=match, params={**_KINDS[kind], **params})

    @property
    def spent(self) -> bool:
        """Whether it has struck as often as it shall."""
        return self.times is not None and self.struck >= self.times

    def fits(self, subject: Subject) -> bool:
        """Return whether ``subject`` is meant."""
        return all(_any_fits(pattern, subject, key) for key, pattern in self.match.items())

    def strikes(self, subject: Subject) -> bool:
        """Count ``subject`` and return whether it is struck."""
        if self.spent or not self.fits(subject):
            return False
        self.seen += 1
        if self.seen <= self.after:
            return False
        self.struck += 1
        return True


def _any_fits(wanted: Any, subject: Subject, key: str) -> bool:
    values = (subject.get(key), subject.get("field")) if key == "operation" else (subject.get(key),)
    patterns = wanted if isinstance(wanted, list) else [wanted]
    return any(
        value is not None and fnmatchcase(value, str(pattern)) for pattern in patterns for value in values
    )


class FaultBook:
    """The rules in force."""

    def __init__(self) -> None:
        self._rules: list[Rule] = []

    def inject(self, values: Mapping[str, Any]) -> Rule:
        """Add a rule. Raise ValueError."""
        rule = Rule.parse(values)
        self._rules.append(rule)
        return rule

    def clear(self) -> None:
        """Forget every rule."""
        self._rules.clear()

    def peek(self, kind: str, subject: Subject) -> bool:
        """Return whether a rule of ``kind`` would strike ``subject`` now, without counting."""
        return any(
            rule.kind == kind and not rule.spent and rule.seen >= rule.after and rule.fits(subject)
            for rule in self._rules
        )

    def take(self, kinds: Collection[str], subject: Subject) -> Rule | None:
        """Count ``subject`` against the rules of ``kinds`` in order; return the first that strikes."""
        return next((r for r in self._rules if r.kind in kinds and r.strikes(subject)), None)

    def strike(self, kind: str, subjects: Sequence[Subject]) -> list[bool]:
        """Count one event that concerns ``subjects``; return which of them rules of ``kind`` strike."""
        struck = [False] * len(subjects)
        for rule in [rule for rule in self._rules if rule.kind == kind]:
            fitting = [place for place, subject in enumerate(subjects) if rule.fits(subject)]
            if fitting and rule.strikes(subjects[fitting[0]]):
                for place in fitting:
                    struck[place] = True
        return struck

    def take_all(self, kinds: Collection[str], subject: Subject) -> Iterable[Rule]:
        """Count ``subject`` against all rules of ``kinds``; return those that strike."""
        return [rule for rule in self._rules if rule.kind in kinds and rule.strikes(subject)]

    def describe(self) -> list[dict[str, Any]]:
        """Return the rules as plain values."""
        return [
            {
                "kind": r.kind,
                "times": r.times,
                "after": r.after,
                "match": r.match,
                **r.params,
                "struck": r.struck,
            }
            for r in self._rules
        ]
