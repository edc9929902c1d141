"""Destinations of pulls: inside the node's artifacts, and a separate place for each path."""

from __future__ import annotations

from pathlib import Path

import pytest

from rpd.errors import UsageError
from rpd.execute.pod.destinations import Destinations, DestinationTaken, Origin, destination

ARTIFACTS = Path("/runs/r/node/artifacts")


@pytest.mark.parametrize(
    ("local", "place"),
    [(None, "."), ("", "."), ("a", "a"), ("a/", "a"), ("a/../b/c", "b/c"), (ARTIFACTS / "in/it", "in/it")],
)
def test_places_in_the_artifacts_folder(local: str | Path | None, place: str) -> None:
    """A path means one below the artifacts, unless it is one of them in full."""
    assert destination(ARTIFACTS, local) == ARTIFACTS / place


@pytest.mark.parametrize(
    "local",
    [
        "..",
        "../x",
        "a/../../x",
        "/home/me/results",
        Path("/home/me/results"),
        "~/results",
        "../artifacts2",
        3,
    ],
)
def test_places_outside_are_refused(local: object) -> None:
    """The error names an allowed place instead."""
    with pytest.raises(UsageError, match="artifacts folder") as caught:
        destination(ARTIFACTS, local)  # type: ignore[arg-type]
    assert isinstance(local, int) or "rpd report --export DIR" in str(caught.value)


def pulled(*pairs: tuple[str, str]) -> Destinations:
    """Take places one after the other: place, and path on the pod (``other:`` before it for a second pod)."""
    destinations = Destinations()
    for place, text in pairs:
        pod, _, path = text.rpartition(":")
        destinations.take(ARTIFACTS / place, Origin(pod, path))
    return destinations


@pytest.mark.parametrize(
    "pairs",
    [
        [("ckpt", "/w/ckpt"), ("ckpt", "/w/ckpt")],
        [("ckpt", "/w/ckpt"), ("ckpt2", "/w/other/ckpt")],
        [("out", "/w/out"), ("out/sub/a.txt", "/w/out/sub/a.txt")],
        [("out/sub/a.txt", "/w/out/sub/a.txt"), ("out", "/w/out")],
        [("out/logs", "/w/logs"), ("out/metrics.json", "/w/metrics.json")],
    ],
)
def test_places_that_do_not_meet(pairs: list[tuple[str, str]]) -> None:
    """The same pull again, and a part of a tree pulled to its own place in it, overwrite nothing else; all are taken."""
    destinations = pulled(*pairs)
    for place, _ in pairs:
        with pytest.raises(DestinationTaken):
            destinations.take(ARTIFACTS / place, Origin("", "/elsewhere"))


@pytest.mark.parametrize(
    "pairs",
    [
        [("ckpt", "/w/a/ckpt"), ("ckpt", "/w/b/ckpt")],
        [("ckpt", "/w/ckpt"), ("ckpt", "other:/w/ckpt")],
        [("ckpt", "/w/ckpt"), ("ckpt/best.pt", "/w/best.pt")],
        [("ckpt/deep/best.pt", "/w/best.pt"), ("ckpt", "/w/ckpt")],
    ],
)
def test_places_that_meet_are_refused(pairs: list[tuple[str, str]]) -> None:
    """Both paths are named, and the way out."""
    with pytest.raises(DestinationTaken, match="local=") as caught:
        pulled(*pairs)
    for _, text in pairs:
        assert text.rpartition(":")[2] in str(caught.value)
