"""The image that ran: its digest in the manifest, a tag that moves, pods created by digest."""

from __future__ import annotations

from pathlib import Path

from rpd.emulator.launch import Launched
from rpd.testing import RpdRun
from tests.runs.conftest import write_project

DEPLOY = """
import rpd

@rpd.job(image="IMAGE", gpu=None, budget=rpd.Budget(cost_cap_usd=1))
def fit(pod):
    pod.run("true")
"""


def test_a_tag_that_moves(rpd: RpdRun, tmp_path: Path, clean_emulator: Launched) -> None:
    """The manifest says which image it was, ``--changed`` notices another one, ``--pin-images`` rents by digest."""
    image = f"{clean_emulator.base_url.removeprefix('http://')}/team/moves:1"
    first = clean_emulator.add_image(image, ssh="starts")
    folder = write_project(tmp_path / "p", {"deploy_a.py": DEPLOY.replace("IMAGE", image)})
    [report] = rpd(folder).reports
    assert report.pod is not None
    assert (report.pod.image, report.pod.digest) == (image, first)
    assert first in rpd(folder, "fit", command="show").out
    unchanged = rpd(folder, "--changed", "--explain")
    assert "cached, nothing changed" in unchanged.out
    second = clean_emulator.add_image(image, ssh="starts", version="2")
    assert second != first
    moved = rpd(folder, "--changed", "--explain", "--pin-images")
    assert "because the digest of its image's tag changed" in moved.out
    [report] = moved.reports
    assert report.pod is not None
    assert (report.pod.image, report.pod.digest) == (f"{image.removesuffix(':1')}@{second}", second)
    refused = rpd(
        write_project(tmp_path / "q", {"deploy_a.py": DEPLOY.replace("IMAGE", "a/b")}), "--pin-images"
    )
    assert refused.exit_code == 4
    assert "--pin-images: the digest of a/b is unknown: on an emulator an image is only a name" in refused.err
