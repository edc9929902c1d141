"""Common mistakes in staged files: a home folder, too much data, local paths, torch for a wrong CUDA, uv's cache."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from rpd.cli.check_result import Finding, fail, ok, warn
from rpd.errors import RpdError
from rpd.plan import uses_pod
from rpd.project.ignore import Kind, StagedFile, staged_files
from rpd.values.node import Node

_STAGES = "staged_dir"
_MUCH_BYTES = 1 << 30
_MANY_FILES = 50_000
_LARGEST_SHOWN = 3
_TEXT = frozenset({".py", ".sh", ".toml", ".yaml", ".yml", ".json", ".cfg", ".ini", ".txt"})
_LARGEST_TEXT = 512 << 10
_MOST_TEXTS = 5_000
_PLACES_SHOWN = 3

_HOMES = (r"/home/[\w.-]+", r"/Users/[\w.-]+", r"[A-Za-z]:\\{1,2}Users\\{1,2}[\w.-]+")
"""Home folders of any user on Linux, macOS and Windows."""
_TORCH = re.compile(r"""^\s*["']?torch(?:vision|audio)?\s*(?:["'\[<>=!~;,]|$)""", re.MULTILINE)
_TORCH_INDEX = "download.pytorch.org/whl"
_UV_CACHE = re.compile(r"UV_CACHE_DIR\W{1,6}(?P<path>/workspace[^\s\"']*)")
_USES_UV = re.compile(r"(?:^|[\s\"'`;&|(])uv (?:sync|run|pip|venv|add)\b")


def check_code(rootdir: Path, nodes: Sequence[Node]) -> Iterator[Finding]:
    """Yield the findings in folders that nodes send to their pods."""
    for folder, members in _projects(rootdir, nodes).items():
        shown = _shown(folder, rootdir)
        home = Path.home().resolve()
        if folder in (home, *home.parents):
            advice = "put the deploy file into a separate folder"
            yield fail("staging", f"{shown} is your home folder, or above it", advice)
            continue
        try:
            files = staged_files(folder)
        except RpdError as error:
            yield fail("staging", str(error))
            continue
        yield _size(shown, files)
        texts = dict(_texts(files))
        yield from _local_paths(shown, texts, home)
        yield from _torch(shown, texts)
        yield from _uv_cache(shown, texts, members)


def _projects(rootdir: Path, nodes: Sequence[Node]) -> dict[Path, list[Node]]:
    """Return the folders that are staged, with the nodes that send them."""
    projects: dict[Path, list[Node]] = {}
    for node in nodes:
        if uses_pod(node) and _STAGES in node.definition.closure.names:
            projects.setdefault((rootdir / node.file).parent.resolve(), []).append(node)
    return projects


def _shown(folder: Path, rootdir: Path) -> str:
    root = rootdir.resolve()
    return f"{folder.relative_to(root)}/" if folder != root and folder.is_relative_to(root) else str(folder)


def _size(shown: str, files: Sequence[StagedFile]) -> Finding:
    total = sum(file.size for file in files)
    text = f"{shown}: {len(files)} files, {_bytes(total)}"
    if total < _MUCH_BYTES and len(files) < _MANY_FILES:
        return ok("staging", text)
    largest = sorted(files, key=lambda file: file.size, reverse=True)[:_LARGEST_SHOWN]
    names = ", ".join(f"{file.name} ({_bytes(file.size)})" for file in largest)
    return warn(
        "staging", f"{text}, the largest {names}", "list files that the job does not need in .rpdignore"
    )


def _bytes(count: float) -> str:
    for unit in ("B", "kB", "MB"):
        if count < 1000:
            return f"{count:.0f} {unit}"
        count /= 1000
    return f"{count:.1f} GB"


def _texts(files: Iterable[StagedFile]) -> Iterator[tuple[str, str]]:
    """Yield name and text of the files that people write."""
    candidates = [
        f for f in files if f.kind is Kind.FILE and f.path.suffix in _TEXT and f.size <= _LARGEST_TEXT
    ]
    for file in candidates[:_MOST_TEXTS]:
        try:
            yield file.name, file.path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError):
            continue


def _local_paths(shown: str, texts: dict[str, str], home: Path) -> Iterator[Finding]:
    """Find absolute paths into somebody's home folder, which no pod has."""
    # /root is the home folder of a pod as well.
    own = [re.escape(str(home))] if len(home.parts) > 1 and str(home) != "/root" else []
    pattern = re.compile(rf"""(?<![\w.])(?:{"|".join([*own, *_HOMES])})(?=[/\\"'\s]|$)""")
    matches = [
        (match[0], f"{name}:{number}")
        for name, text in texts.items()
        if pattern.search(text)
        for number, line in enumerate(text.splitlines(), start=1)
        if (match := pattern.search(line))
    ]
    if matches:
        places = [place for _, place in matches]
        more = f" and {len(places) - _PLACES_SHOWN} more" if len(places) > _PLACES_SHOWN else ""
        where = ", ".join(places[:_PLACES_SHOWN])
        advice = "pods do not have this folder; use paths relative to the project"
        yield warn("paths", f"{shown}: {matches[0][0]} in {where}{more}", advice)


def _torch(shown: str, texts: dict[str, str]) -> Iterator[Finding]:
    """Find torch asked for without saying for which CUDA; PyPI's is for the newest, which older drivers refuse."""
    for name, text in texts.items():
        is_list = name.rpartition("/")[2].startswith("requirements") and name.endswith(".txt")
        if not is_list and name.rpartition("/")[2] != "pyproject.toml":
            continue
        if _TORCH.search(text) and _TORCH_INDEX not in text:
            advice = f"name an index such as https://{_TORCH_INDEX}/cu128, or use the torch of the image"
            yield warn(
                "torch",
                f"{shown}: {name} takes torch from PyPI, which may be built for another CUDA version",
                advice,
            )


def _uv_cache(shown: str, texts: dict[str, str], nodes: Sequence[Node]) -> Iterator[Finding]:
    """Find uv's cache on /workspace, where a network volume makes its locks and links hang."""
    advice = 'set UV_CACHE_DIR to the container disk, e.g. env={"UV_CACHE_DIR": "/root/.cache/uv"}'
    for name, text in texts.items():
        match = _UV_CACHE.search(text)
        if match:
            yield warn("uv cache", f"{shown}: {name} puts it on {match['path']}", advice)
            return
    on_network = [node for node in nodes if node.job.storage.network_volume]
    for node in on_network:
        set_path = node.job.env.get("UV_CACHE_DIR", "")
        if set_path.startswith(node.job.mount):
            yield warn("uv cache", f"{node.definition.location} puts it on {set_path}", advice)
            return
        # RunPod's own images put it on /workspace unless something else is set.
        if (
            not set_path
            and node.job.image.startswith("runpod/")
            and any(map(_USES_UV.search, texts.values()))
        ):
            where = f"{node.definition.location}: the image puts it on the network volume"
            yield warn("uv cache", where, advice)
            return
