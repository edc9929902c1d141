"""``rpd audit``: RunPod's bill, explained to the cent by the rentals of runs."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from rpd.audit.explain_bill import CENT, Audit, Part, PodAccount, in_cents, reconcile
from rpd.audit.groups import BY, grouped
from rpd.audit.rentals import Known, read_known
from rpd.cli.command_options import AuditOptions
from rpd.cli.json_document import say_document
from rpd.cli.output import note, say
from rpd.cli.provider_session import account, code_after
from rpd.cli.table import table
from rpd.config import Config
from rpd.errors import ExitCode, ProviderError, UsageError
from rpd.hooks import PluginManager
from rpd.pipeline.whole_account import WholeAccount
from rpd.runpod.address import EMULATOR
from rpd.values.frozen import frozen
from rpd.values.pod import NetworkVolume, PodInfo


@frozen
class _Names:
    """Present names for ids on the bill: pods (and their owners) and network volumes."""

    pods: Mapping[str, str]
    owners: Mapping[str, str]
    volumes: Mapping[str, str]
    are_known: bool = True


def main(config: Config, manager: PluginManager) -> int:
    """Print the bill, explained; with ``--exit-code`` the exit code is 1 where something is not.

    It is 1, too, where pods or volumes could not be listed: then names are missing.
    """
    own: AuditOptions = config.own
    del manager
    for by in own.by:
        if by not in BY:
            raise UsageError(f"--by {by}: expected any of {', '.join(BY)}")
    folders = _folders(config.args, config.invocation_dir) or [config.runs_path]
    now = time.time()
    with account(config) as provider:
        bill = provider.billing(now - own.since, now)
        if bill is None:
            raise UsageError(f"{provider.name} does not report its charges")
        records = _known(folders, provider.name, bill.since)
        names = _names(provider)
        code = code_after(provider)
    audit = reconcile(bill, records.rentals, now=now)
    if config.output.as_json:
        say_document(_document(audit, names, records, own.by))
    else:
        say("\n".join(_lines(audit, names, records, own.by)))
    return ExitCode.FAILED if own.exit_code and not audit.is_explained else code


def _folders(args: Sequence[str], invocation_dir: Path) -> list[Path]:
    """Return the folders of run folders that the command line names, else this project's. Raise UsageError."""
    named = [invocation_dir / Path(text).expanduser() for text in args]
    for folder in named:
        if not folder.is_dir():
            raise UsageError(f"{folder}: expected a folder of run folders")
    return named


def _known(folders: Sequence[Path], provider: str, since: float) -> Known:
    """Return the rentals of the runs in these folders whose pods came from a provider of this name."""
    is_emulated = provider.startswith(EMULATOR)
    damage: dict[str, None] = {}
    records = Known()
    for folder in folders:
        more = read_known(
            folder,
            wanted=lambda backend: backend == provider if is_emulated else not backend.startswith(EMULATOR),
            since=since,
            damaged=lambda text: damage.setdefault(text),
        )
        records.rentals += more.rentals
        records.runs += more.runs
        for volume, nodes in more.volumes.items():
            records.volumes.setdefault(volume, set()).update(nodes)
    for text in damage:
        note(f"rpd: {text}")
    return records


def _names(provider: WholeAccount) -> _Names:
    """Return the present names; without them, if they cannot be read, the bill is still explained."""
    pods: Sequence[PodInfo] = ()
    owners: Mapping[str, str] = {}
    volumes: Sequence[NetworkVolume] = ()
    with suppress(ProviderError):
        pods = provider.list()
    with suppress(ProviderError):
        owners = provider.owners()
    with suppress(ProviderError):
        volumes = provider.volumes() or ()
    return _Names(
        pods={pod.id: pod.name for pod in pods},
        owners=owners,
        volumes={volume.id: volume.name for volume in volumes},
        are_known=not provider.unseen,
    )


# --- for people -----------------------------------------------------------------------------------------------------


def _lines(audit: Audit, names: _Names, known: Known, by: Sequence[str]) -> Iterator[str]:
    yield f"RunPod billed ${audit.billed_usd:.2f} from {_utc(audit.since)} to {_utc(audit.until)} UTC"
    yield ""
    yield from _parts(audit, names)
    if audit.missing_usd >= CENT:
        pods = sum(pod.missing_usd >= CENT for pod in audit.pods)
        yield f"not on the bill: ${audit.missing_usd:.2f} that runs had estimated ({_pods(pods)})"
    if audit.pending_usd >= CENT:
        yield f"not billed yet: about ${audit.pending_usd:.2f}; the bill can be an hour late"
    yield from _strangers(audit, names)
    yield from _differences(audit)
    yield from _volumes(audit, names, known)
    for each in by:
        yield from _by(audit, names, each)


def _parts(audit: Audit, names: _Names) -> Iterator[str]:
    shown = [(part, usd) for part, usd in audit.parts.items() if usd or part is Part.AS_ESTIMATED]
    cents = in_cents([usd for _, usd in shown], audit.billed_usd)
    width = max(len(f"{cent / 100:.2f}") for cent in cents)
    for (part, _), cent in zip(shown, cents, strict=True):
        yield f"  ${cent / 100:>{width}.2f}  {part}{_counted(part, audit, names)}"
    yield f"  ${round(audit.billed_usd * 100) / 100:>{width}.2f}  total"


def _counted(part: Part, audit: Audit, names: _Names) -> str:
    if part is Part.UNKNOWN:
        there = sum(each.pod_id in names.pods for each in audit.strangers)
        return f" ({_pods(len(audit.strangers))}{f', {there} still there' if there else ''})"
    if part is Part.VOLUMES:
        return f" ({len(audit.volumes)})"
    if part is Part.OTHERS:
        return f" ({', '.join(audit.others)})"
    if part is Part.AS_ESTIMATED:
        return f" ({_pods(sum(pod.part(part) > 0 for pod in audit.pods))})"
    count = sum(pod.part(part) >= CENT for pod in audit.pods)
    return f" ({_pods(count)})" if count else " (less than a cent each)"


def _strangers(audit: Audit, names: _Names) -> Iterator[str]:
    if not audit.strangers:
        return
    yield ""
    yield "pods that belong to no run here:"
    head = ("POD", "$", "FROM (UTC)", "UNTIL", "NAME", "OWNER", "STATE")
    rows = [
        (
            each.pod_id,
            f"{each.usd:.2f}",
            _utc(each.first),
            _utc(each.last),
            names.pods.get(each.pod_id, ""),
            names.owners.get(each.pod_id, ""),
            "there" if each.pod_id in names.pods else "gone" if names.are_known else "",
        )
        for each in audit.strangers
    ]
    yield from table([head, *rows], right={1}, cut={4: 16, 5: 12}, leave_out=(3, 5, 4))


def _differences(audit: Audit) -> Iterator[str]:
    """Yield the pods whose cost differs from their run's estimate, or continued after it."""
    shown = [pod for pod in audit.pods if any(abs(usd) >= CENT for usd in _odd(pod))]
    if not shown:
        return
    yield ""
    yield "pods that cost more or less than their runs estimated:"
    head = ("POD", "NODE", "RUN", "BILLED", "ESTIMATED", "MORE", "LESS", "STOPPED", "KEPT", "RELEASED")
    rows = [
        (
            pod.pod_id,
            pod.last.node.rpartition("::")[2],
            pod.last.run,
            f"{pod.billed_usd:.2f}",
            f"{pod.estimated_usd:.2f}",
            *(f"{usd:.2f}" if abs(usd) >= CENT else "" for usd in _odd(pod)),
        )
        for pod in shown
    ]
    yield from table([head, *rows], right=range(3, 10), cut={1: 16, 2: 16}, leave_out=(2, 1))


def _odd(pod: PodAccount) -> tuple[float, ...]:
    parts = (Part.STOPPED, Part.KEPT, Part.AFTER)
    return (pod.part(Part.MORE), pod.missing_usd, *(pod.part(part) for part in parts))


def _volumes(audit: Audit, names: _Names, known: Known) -> Iterator[str]:
    if not audit.volumes:
        return
    yield ""
    yield "network volumes:"
    rows = [
        (
            each.volume_id,
            names.volumes.get(each.volume_id, ""),
            f"{each.usd:.2f}",
            str(_uses(each.volume_id, names, known)),
        )
        for each in audit.volumes
    ]
    yield from table([("VOLUME", "NAME", "$", "NODES"), *rows], right={2, 3})


def _uses(volume_id: str, names: _Names, known: Known) -> int:
    """Return how many nodes of the runs asked for a volume, by its id or its name."""
    askers = known.volumes
    return len(askers.get(volume_id, set()) | askers.get(names.volumes.get(volume_id, volume_id), set()))


def _by(audit: Audit, names: _Names, by: str) -> Iterator[str]:
    groups = grouped(audit, by, names.owners)
    if not groups:
        return
    yield ""
    rows = [
        (
            each.name,
            str(each.pods or ""),
            f"{each.billed_usd:.2f}",
            f"{each.estimated_usd:.2f}" if each.pods else "",
        )
        for each in groups
    ]
    yield from table([(by.upper(), "PODS", "BILLED", "ESTIMATED"), *rows], right={1, 2, 3}, cut={0: 24})


def _pods(number: int) -> str:
    return f"{number} pod{'' if number == 1 else 's'}"


def _utc(moment: float) -> str:
    return datetime.fromtimestamp(moment, UTC).strftime("%Y-%m-%d %H:%M")


# --- for programs ---------------------------------------------------------------------------------------------------


def _document(audit: Audit, names: _Names, known: Known, by: Sequence[str]) -> dict[str, Any]:
    return {
        "since": datetime.fromtimestamp(audit.since, UTC).isoformat(),
        "until": datetime.fromtimestamp(audit.until, UTC).isoformat(),
        "runs": known.runs,
        "billed_usd": _usd(audit.billed_usd),
        "parts": {part.name.lower(): _usd(usd) for part, usd in audit.parts.items()},
        "missing_usd": _usd(audit.missing_usd),
        "pending_usd": _usd(audit.pending_usd),
        "explained": audit.is_explained,
        "pods": [_pod(pod) for pod in audit.pods],
        "unknown_pods": [
            {
                "pod": each.pod_id,
                "usd": _usd(each.usd),
                "from": _utc(each.first),
                "until": _utc(each.last),
                "name": names.pods.get(each.pod_id),
                "owner": names.owners.get(each.pod_id),
                "there": each.pod_id in names.pods or (False if names.are_known else None),
            }
            for each in audit.strangers
        ],
        "volumes": [
            {
                "volume": each.volume_id,
                "name": names.volumes.get(each.volume_id),
                "usd": _usd(each.usd),
                "nodes": _uses(each.volume_id, names, known),
            }
            for each in audit.volumes
        ],
        "others": {name: _usd(usd) for name, usd in audit.others.items()},
        "by": {
            each: [
                {
                    "name": group.name,
                    "pods": group.pods,
                    "billed_usd": _usd(group.billed_usd),
                    "estimated_usd": _usd(group.estimated_usd),
                }
                for group in grouped(audit, each, names.owners)
            ]
            for each in by
        },
    }


def _pod(pod: PodAccount) -> dict[str, Any]:
    return {
        "pod": pod.pod_id,
        "name": pod.last.pod_name,
        "run": pod.last.run,
        "runs": list(dict.fromkeys(each.run for each in pod.rentals)),
        "node": pod.last.node,
        "owner": pod.last.owner,
        "state": pod.last.final_state or "in use",
        "billed_usd": _usd(pod.billed_usd),
        "estimated_usd": _usd(pod.estimated_usd),
        "parts": {part.name.lower(): _usd(usd) for part, usd in pod.parts.items()},
        "missing_usd": _usd(pod.missing_usd),
        "pending_usd": _usd(pod.pending_usd),
    }


def _usd(amount: float) -> float:
    return round(amount, 6)
