"""The page: whatever users and pods wrote is text in it, secrets are not in it, and it leads nowhere else."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rpd.events import Events
from rpd.hooks import hookimpl, make_plugin_manager
from rpd.journal.files import folder_name
from rpd.pipeline.past_runs import PastRun, RunState
from rpd.record import history
from rpd.record.run_info import RunInfo
from rpd.redaction import Redactor
from rpd.values.report import Failure, NodeReport, PodRecord, RunSummary
from rpd.values.sort_order import Ranking
from rpd.web.html_report import HtmlReport, dumps
from rpd.web.page import style
from rpd.web.run_folders import read_run
from tests.web.conftest import RUN, many, png, report_of


class Reader(HTMLParser):
    """Collects the elements of a page, its references, and the text of its scripts."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.references: list[str] = []
        self.scripts: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.references += [value or "" for name, value in attrs if name in ("href", "src")]

    def handle_data(self, data: str) -> None:
        if self.tags and self.tags[-1] == "script":
            self.scripts.append(data)


def read(page: str) -> Reader:
    reader = Reader()
    reader.feed(page)
    reader.close()
    return reader


def document(page: str) -> Any:
    """Return the document in a page."""
    return json.loads(read(page).scripts[0])


def page(*reports: NodeReport, **how: Any) -> str:
    run = PastRun(info=RunInfo(id="t", finished="-"), state=RunState.FINISHED, reports=reports)
    return dumps([run], **how)


def named(name: str, **changes: Any) -> NodeReport:
    base = report_of(0.1, 2, 2)
    return replace(base, node=replace(base.node, id=f"deploy_a.py::{name}"), **changes)


PLAIN = read(page()).tags


@given(st.text(), st.text())
def test_any_text_stays_text(name: str, value: str) -> None:
    """No id, reason, parameter, metric, log or file name makes an element, and all of it can be read back."""
    hostile = named(name, metrics={name: value}, failure=Failure(place=value, log_tail=(value,)))
    hostile = replace(hostile, result=replace(hostile.result, reason=value))
    made = page(hostile)
    assert read(made).tags == PLAIN
    (node,) = document(made)["nodes"]
    assert len(node["metrics"]) == 1


@pytest.mark.parametrize(
    "text", ["</script><script>alert(1)</script>", "<!--<script>", "]]>", "\u2028", "&lt;b&gt;"]
)
def test_what_ends_a_script_is_text(text: str) -> None:
    """The beginnings that change how a browser reads a script stay inside the document."""
    made = page(named(text))
    assert read(made).tags == PLAIN
    assert document(made)["nodes"][0]["name"] == text.replace("\u2028", "")


def test_the_page_loads_nothing() -> None:
    """Nothing in it refers to anything, and its policy allows only its own style and script."""
    made = page(named("fit"))
    assert read(made).references == ["data:,"]
    policy = re.search(r'http-equiv="Content-Security-Policy" content="([^"]*)"', made)
    assert policy is not None
    assert "default-src &#x27;none&#x27;" in policy[1]
    assert "connect-src &#x27;none&#x27;" in policy[1]
    assert "unsafe" not in policy[1]
    assert not re.search(r"https?://(?!www\.w3\.org/2000/svg)", made)


def test_values_that_json_has_no_word_for() -> None:
    """NaN, infinity, large whole numbers and containers are texts; numbers stay numbers, unrounded."""
    report = named(
        "fit", metrics={"nan": float("nan"), "inf": float("inf"), "big": 2**70, "list": [1], "x": 0.123456789}
    )
    metrics = document(page(report))["nodes"][0]["metrics"]
    assert metrics == {"nan": "nan", "inf": "inf", "big": str(2**70), "list": "[1]", "x": 0.123456789}


def test_secrets_are_masked_everywhere(tmp_path: Path) -> None:
    """Also one that a colour code cuts in two, in a log, a metric, a parameter, a file name or a reason."""
    secret = "sesame-81f2"
    (tmp_path / "output.log").write_text(f"{secret} sesame\x1b[0m-81f2\n", encoding="utf-8")
    (tmp_path / "artifacts").mkdir()
    (tmp_path / "artifacts" / f"{secret}.txt").write_text("x")
    (tmp_path / "series.jsonl").write_text(json.dumps({"step": 1, "values": {secret: 1}}))
    report = named(
        secret, folder=str(tmp_path), metrics={secret: secret}, pod=PodRecord(id=secret, name="", gpu=secret)
    )
    failed = report_of(0.1, 2, 2)
    report = replace(
        report, artifacts=report_of(0.01, 1, 2).artifacts, result=replace(failed.result, reason=secret)
    )
    text = page(report, redactor=Redactor([secret]), path=tmp_path / "report.html")
    assert secret not in text
    assert text.count("***") >= 8


def test_the_log_of_a_failure_is_shown(tmp_path: Path) -> None:
    """The end of the log file, as a terminal would show it, without colours; without a file, the report's tail."""
    (tmp_path / "output.log").write_bytes(b"1%\r100%\n\x1b[31mboom\x1b[0m <end>\n")
    with_file, without = document(page(named("a", folder=str(tmp_path)), named("b")))["nodes"]
    assert with_file["failure"]["log"] == ["100%", "boom <end>"]
    assert without["failure"]["log"] == ["last words"]
    assert with_file["failure"]["source"].startswith("pod.run(")
    assert with_file["failure"]["next"][-1][0].split()[:2] == ["rpd", "run"]


def test_a_folder_tells_the_whole_story(folder: Path) -> None:
    """Phases come from the journals, strips from telemetry, curves from series, pictures and links from artifacts."""
    made = document(dumps([read_run(folder, [])], path=folder.parent / "report.html"))
    assert len(made["nodes"]) == 18
    node = next(each for each in made["nodes"] if each["outcome"] == "passed")
    assert [phase for phase, _, _ in node["spans"]] == (
        ["waiting", "booting", "idle", "staging", "idle", "working", "idle", "pulling", "idle"]
    )
    assert node["strip"]["peak_mb"] == 36000
    assert node["strip"]["util"][0] == 0
    assert set(node["series"]) == {"loss", "val/accuracy"}
    assert len(node["series"]["loss"][0]) == 200
    files = {file["name"]: file for file in node["artifacts"]}
    assert files["results/plot.png"]["picture"].startswith("data:image/png;base64,")
    assert files["results/metrics.json"]["href"].startswith(f"{RUN}/")
    assert "href" not in files["results/page.html"]
    (runs,) = made["runs"]
    assert (runs["command"], runs["commit"][:7], runs["state"]) == (
        "rpd run deploy_fit.py -n 3",
        "0123abc",
        "finished",
    )


def test_pictures_are_what_they_claim_to_be(folder: Path) -> None:
    """A page named as a picture is no picture, a link is not followed, and one that is too large is only linked."""
    place = next(folder.glob("*lr0.01-seed1-depth2*")) / "artifacts" / "results"
    (place / "fake.png").write_text("<svg onload=alert(1)>")
    (place / "link.png").symlink_to(place / "plot.png")
    (place / "large.png").write_bytes(png(1, 2, 3) + bytes(1 << 20))
    made = document(dumps([read_run(folder, [])]))
    node = next(each for each in made["nodes"] if each["name"] == "fit[lr0.01-seed1-depth2]")
    shown = {file["name"].partition("/")[2]: "picture" in file for file in node["artifacts"]}
    assert shown == {
        "fake.png": False,
        "large.png": False,
        "metrics.json": False,
        "page.html": False,
        "plot.png": True,
    }


def test_damage_is_told_and_the_rest_is_shown(folder: Path) -> None:
    """A manifest that cannot be read, journals and telemetry of nonsense, a newer schema: shown as far as they go."""
    one, two, three, four, *_ = sorted(each for each in folder.iterdir() if each.is_dir())
    (one / "manifest.toml").write_text("schema_version = 1\n[node")
    (two / "events.jsonl").write_bytes(b'\xff{"event": 3}\n{"at": "no"}\n')
    (three / "metrics.jsonl").write_text('{"at": "2026-01-02T03:04:05+00:00", "gpus": "x"}\n[[[[\n')
    (four / "series.jsonl").write_text('{"step": NaN, "values": {"loss": "high"}}\n{"values": 3}\n')
    text = (folder / "run.toml").read_text()
    (folder / "run.toml").write_text(text.replace("schema_version = 1", "schema_version = 7\nnews = 3"))
    notes: list[str] = []
    made = document(dumps([read_run(folder, notes)], notes=notes))
    assert len(made["nodes"]) == 18
    assert [node["outcome"] for node in made["nodes"]].count("damaged") == 1
    sentences = " ".join(made["notes"])
    assert "newer rpd" in sentences
    assert "manifest.toml" in sentences
    without_journal = next(node for node in made["nodes"] if node["folder"] == str(two))
    assert "working" in [phase for phase, _, _ in without_journal["spans"]]
    assert "strip" not in next(node for node in made["nodes"] if node["folder"] == str(three))


def test_the_report_of_a_run_is_written_at_its_end(folder: Path, tmp_path: Path) -> None:
    """The plugin uses the run file, orders the table, and gives a notice if it cannot write."""
    manager = make_plugin_manager([])
    heard: list[str] = []

    class Hears:
        @hookimpl
        def rpd_notice(self, text: str) -> None:
            heard.append(text)

    manager.register(Hears())
    path = tmp_path / "deep" / "report.html"
    plugin = HtmlReport(
        path,
        redactor=Redactor(),
        write=lambda path, text: path.write_text(text),
        events=Events(manager),
        ranking=Ranking.parse("accuracy:desc"),
    )
    summary = RunSummary(folder=str(folder), reports=tuple(history.reports(folder)), seconds=3.0)
    plugin.rpd_run_finished(summary=summary)
    made = document(path.read_text())
    assert made["ranking"] == {"column": "accuracy", "down": True}
    assert made["runs"][0]["command"].startswith("rpd run")
    path.unlink()
    path.mkdir()
    plugin.rpd_run_finished(summary=summary)
    assert [text for text in heard if "cannot be written" in text]


def test_a_large_run_stays_small() -> None:
    """Ten thousand nodes are a few megabytes, and the page names its omissions."""
    made = page(*many(10_000))
    assert len(made) < 12_000_000


# --- contrast ---------------------------------------------------------------------------------------------------------


def palettes() -> dict[str, dict[str, str]]:
    """Return the colours of the light and the dark page by name."""
    blocks = re.findall(r"(:root[^{]*)\{([^}]*)\}", style())
    colours = {
        selector.strip(): dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6})", text)) for selector, text in blocks
    }
    light, dark, system = (
        colours[":root"],
        colours[':root[data-theme="dark"]'],
        colours[':root:not([data-theme="light"])'],
    )
    assert dark == system, "a system in the dark shows the same colours as the choice of dark"
    assert light.keys() == dark.keys()
    return {"light": light, "dark": dark}


def luminance(colour: str) -> float:
    parts = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    red, green, blue = (
        part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts
    )
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one: str, other: str) -> float:
    high, low = sorted((luminance(one), luminance(other)), reverse=True)
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_colours_have_contrast(theme: str) -> None:
    """Texts have 4.5 : 1 on every ground they stand on, lines and areas of charts 3 : 1 (WCAG 2.2, AA)."""
    palette = palettes()[theme]
    texts = ("ink", "dim", "accent", "good", "bad", "warn", "note")
    weak = [
        (name, ground)
        for name in texts
        for ground in ("ground", "panel", "raised")
        if contrast(palette[name], palette[ground]) < 4.5
    ]
    weak += [("ink", "mark")] if contrast(palette["ink"], palette["mark"]) < 4.5 else []
    marks = (
        "booting",
        "staging",
        "working",
        "pulling",
        "idle",
        "edge",
        "util",
        "mem",
        *(f"c{number}" for number in range(8)),
        *(f"s{number}" for number in range(12)),
    )
    weak += [(name, "ground") for name in marks if contrast(palette[name], palette["ground"]) < 3]
    assert weak == []


def test_a_study_is_told_with_its_trials(tmp_path: Path) -> None:
    """Its objective, and the keys of its trials without those that confirm; a damaged record has none."""
    folder = tmp_path / "t"
    folder.mkdir()
    added = [{"id": f"deploy_a.py::fit[trial{number}]", "study": "deploy_a.py::fit"} for number in (1, 2)]
    added.append({"id": "deploy_a.py::fit[trial1-confirm]", "study": "deploy_a.py::fit", "confirms": True})
    events = [{"at": "2026-01-02T03:04:05+00:00", "event": "added", **each} for each in added]
    (folder / "events.jsonl").write_text("".join(f"{json.dumps(each)}\n" for each in events))
    aim = {"objectives": [{"metric": "accuracy", "direction": "maximize"}]}
    (folder / "studies.json").write_text(json.dumps({"studies": {"deploy_a.py::fit": aim}}))
    run = PastRun(info=RunInfo(id="t", folder=str(folder), finished="-"), state=RunState.FINISHED, reports=())
    (study,) = document(dumps([run]))["studies"]
    assert study["nodes"] == [f"0/{folder_name(each['id'])}" for each in added[:2]]
    assert (study["metric"], study["down"]) == ("accuracy", True)
    (folder / "studies.json").write_text('{"studies": {"deploy_a.py::fit": {"objectives": [3]}}}')
    assert document(dumps([run]))["studies"] == []
