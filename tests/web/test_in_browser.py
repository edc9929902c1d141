"""The page in a real browser: one start for all, and the acts of its users."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from rpd.pipeline.past_runs import PastRun, RunState
from rpd.record.run_info import RunInfo
from rpd.values.report import Failure, PodRecord
from rpd.web.html_report import dumps
from rpd.web.run_folders import read_run
from tests.web import browser as browsers
from tests.web.browser import Browser
from tests.web.conftest import many, report_of, write_run


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    program = browsers.find()
    if program is None:
        pytest.skip("there is no Chromium here (apt-get install chromium, or name one in RPD_CHROMIUM)")
    opened = Browser(program)
    yield opened
    opened.close()


@pytest.fixture(scope="module")
def sweep(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page of a sweep of eighteen nodes."""
    base = tmp_path_factory.mktemp("sweep")
    path = base / "report.html"
    path.write_text(dumps([read_run(write_run(base / "rpd-runs"), [])], path=path), encoding="utf-8")
    return path


@pytest.fixture
def page(browser: Browser, sweep: Path) -> Iterator[Browser]:
    browser.show()
    browser.open(sweep.as_uri())
    yield browser
    assert browser.errors == []


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page of the same nodes as the trials of a study that ends with the failed ones."""
    base = tmp_path_factory.mktemp("study")
    path, folder = base / "report.html", write_run(base / "rpd-runs")
    aim = {"objectives": [{"metric": "loss", "direction": "minimize"}]}
    (folder / "studies.json").write_text(json.dumps({"studies": {"deploy_fit.py::fit": aim}}))
    with (folder / "events.jsonl").open("a") as file:
        for report in read_run(folder, []).reports:
            line = {"event": "added", "id": report.node.id, "study": "deploy_fit.py::fit"}
            file.write(json.dumps(line) + "\n")
    path.write_text(dumps([read_run(folder, [])], path=path), encoding="utf-8")
    return path


def column(page: Browser, title: str) -> list[str]:
    """Return the texts in a column of the table, from the top."""
    collected: list[str] = page.js(
        f"""(() => {{ const heads = [...document.querySelectorAll('#grid thead tr:last-child th')];
        const at = heads.findIndex(head => head.textContent === {json.dumps(title)});
        return [...document.querySelectorAll('#grid tbody tr:not(.gap)')].map(row => row.cells[at].textContent); }})()"""
    )
    return collected


def sort_by(page: Browser, title: str) -> None:
    page.js(
        f"[...document.querySelectorAll('#grid thead button')].find(each => each.textContent === {json.dumps(title)}).click()"
    )


def test_sorting_filtering_and_means(page: Browser) -> None:
    """Headings sort numbers as numbers, words and comparisons filter, seeds are averaged, the best is marked."""
    sort_by(page, "loss")
    values = [float(text.removesuffix(" best")) for text in column(page, "loss") if text]
    assert values == sorted(values)
    assert len(values) == 16
    assert column(page, "loss")[-2:] == ["", ""], "what has no value comes last"
    assert page.js("document.querySelector('#grid th[aria-sort]').getAttribute('aria-sort')") == "ascending"
    sort_by(page, "loss")
    assert column(page, "loss")[0] == f"{max(values):.3f}"
    assert column(page, "loss")[-1] == ""
    assert page.js("document.querySelectorAll('#grid td.best').length") == 2

    page.type("#words", "lr=0.01 loss<0.36")
    assert set(column(page, "lr")) == {"0.01"}
    assert 0 < len(column(page, "loss")) < 6
    page.type("#words", "-passed")
    assert [text.split()[1] for text in column(page, "outcome")] == ["failed", "failed"]
    page.type("#words", "nothing-of-the-kind")
    assert "No node matches" in page.js("document.querySelector('#grid tbody').textContent")
    page.type("#words", "")
    page.click("#outcomes .chip.failed")
    assert len(column(page, "outcome")) == 16
    page.click("#outcomes .chip.failed")

    page.js(
        "(() => { const over = document.getElementById('over'); over.value = 'param.seed'; over.dispatchEvent(new Event('change')); })()"
    )
    assert len(column(page, "lr")) == 6
    sort_by(page, "loss")
    assert column(page, "loss")[0].startswith("0.356 ± 0.013 (3)")
    assert column(page, "outcome")[-1] == "1 failed, 2 passed"

    page.js(
        "[...document.querySelectorAll('#columns label')].find(each => each.textContent.includes('depth')).firstChild.click()"
    )
    assert "depth" not in page.js("document.querySelector('#grid thead').textContent")


def test_every_section_is_drawn(page: Browser) -> None:
    """A lane for each node by phase, strips, curves with a legend that follows the mouse, axes, costs, pictures."""
    counts: dict[str, Any] = page.js(
        """Object.fromEntries(Object.entries({lanes: '#lanes .lane', working: 'rect.working', strips: 'path.util',
        charts: '#curve-charts figure', lines: '#curve-charts figure:first-child path.line', axes: '.axis-group',
        pictures: '#gallery img', failures: '.failure', phases: '#cost-phases tbody tr'})
        .map(([name, selector]) => [name, document.querySelectorAll(selector).length]))"""
    )
    assert counts == {
        "lanes": 18, "working": 18, "strips": 18, "charts": 2, "lines": 18, "axes": 5, "pictures": 16,
        "failures": 1, "phases": 5,
    }  # fmt: skip
    assert page.js("[...document.images].every(image => image.naturalWidth === 48)")
    failure = page.js("document.querySelector('.failure').textContent")
    for text in ("out of memory", "deploy_fit.py:19", "done", "rpd logs"):
        assert text in failure
    page.js("document.querySelector('#curve-charts svg').scrollIntoView({block: 'center'})")
    box = page.js(
        "(() => { const box = document.querySelector('#curve-charts svg').getBoundingClientRect(); return [box.x, box.y, box.width, box.height]; })()"
    )
    page.point(box[0] + box[2] / 2, box[1] + box[3] / 2)
    page.until("!document.getElementById('tip').hidden")
    assert page.js("document.querySelectorAll('#tip .reading').length") == 10
    assert "loss at step" in page.js("document.getElementById('tip').textContent")
    page.js("document.querySelector('#curve-charts svg').focus()")
    page.key("ArrowRight")
    page.until("document.getElementById('said').textContent.startsWith('step ')")


def test_the_keyboard_reaches_everything(page: Browser) -> None:
    """Arrow keys go through rows, Enter opens a node, Escape closes it; every control has a name."""
    page.js("document.querySelector('#grid tbody button').focus()")
    for _ in range(2):
        page.key("ArrowDown")
    assert page.js("document.activeElement.closest('tr').getAttribute('aria-rowindex')") == "5"
    page.js("document.activeElement.click()")
    assert page.js("document.getElementById('node').open")
    story = page.js("document.getElementById('node').textContent")
    for text in ("python train.py", "results/metrics.json", "NVIDIA A40", "0123abc", "CUDA 12.8", "3 files"):
        assert text in story
    page.js("document.getElementById('node').close()")
    unnamed = page.js(
        """[...document.querySelectorAll('button, select, input, [role=region], svg[role=img]')]
        .filter(each => !(each.textContent.trim() || each.getAttribute('aria-label') || each.labels?.length || each.title))
        .map(each => each.outerHTML.slice(0, 90))"""
    )
    assert unnamed == []


@pytest.mark.parametrize("width", [360, 1920])
def test_it_fits_narrow_and_wide_windows(page: Browser, width: int) -> None:
    """Nothing but tables in their own boxes is wider than the window."""
    page.show(width=width)
    page.until(f"innerWidth === {width}")
    page.frame()
    assert page.js("document.documentElement.scrollWidth") <= width


def test_dark_and_paper(page: Browser) -> None:
    """It follows the system, a choice in the page overrules it, and paper has every row and no controls."""
    ground = "getComputedStyle(document.documentElement).backgroundColor"
    assert page.js(ground) == "rgb(255, 255, 255)"
    page.show(dark=True)
    page.until(f"{ground} === 'rgb(20, 23, 27)'")
    page.js(
        "(() => { const theme = document.getElementById('theme'); theme.value = 'light'; theme.dispatchEvent(new Event('change')); })()"
    )
    assert page.js(ground) == "rgb(255, 255, 255)"
    page.js("localStorage.clear()")
    page.show(media="print")
    assert page.js("getComputedStyle(document.getElementById('filter')).display") == "none"


def test_ten_thousand_nodes(browser: Browser, tmp_path: Path) -> None:
    """Only the rows in sight are drawn; sorting, filtering and scrolling reach all of them."""
    run = PastRun(info=RunInfo(id="many", finished="-"), state=RunState.FINISHED, reports=tuple(many(10_000)))
    path = tmp_path / "many.html"
    path.write_text(dumps([run]), encoding="utf-8")
    browser.show()
    browser.open(path.as_uri())
    rows = "document.querySelectorAll('#grid tbody tr:not(.gap)').length"
    assert 0 < browser.js(rows) < 200
    assert browser.js("document.querySelectorAll('#lanes .lane').length") < 200
    sort_by(browser, "loss")
    assert column(browser, "loss")[0].startswith("0")
    browser.js("document.getElementById('grid').scrollTop = 1e9")
    browser.until("document.querySelector('#grid tbody').textContent.includes('0.9999')")
    assert 0 < browser.js(rows) < 200
    browser.type("#words", "seed=7777")
    assert len(column(browser, "loss")) == 1
    assert browser.js("document.querySelectorAll('*').length") < 6000
    assert browser.errors == []


def test_long_names_and_many_values(browser: Browser, tmp_path: Path) -> None:
    """A long name is shortened to its varying part; many numbers are shades from low to high, with a scale."""
    base, reports = report_of(0.01, 1, 2), []
    for number in range(20):
        place = tmp_path / f"node{number}"
        place.mkdir()
        (place / "series.jsonl").write_text(
            '{"step": 0, "values": {"loss": 2}}\n{"step": 9, "values": {"loss": 1}}\n'
        )
        parameters = {
            "learning_rate": 10 ** (-1 - number / 7),
            "model": f"organisation/{'x' * 40}",
            "seed": 1,
        }
        name = f"fit[{'-'.join(map(str, parameters.values()))}]"
        node = replace(base.node, id=f"deploy_a.py::{name}", parameters=parameters)
        reports.append(replace(base, node=node, folder=str(place), artifacts=()))
    run = PastRun(info=RunInfo(id="long", finished="-"), state=RunState.FINISHED, reports=tuple(reports))
    path = tmp_path / "long.html"
    path.write_text(dumps([run]), encoding="utf-8")
    browser.show()
    browser.open(path.as_uri())
    assert column(browser, "node")[:2] == ["fit[0.1]", "fit[0.072]"]
    assert browser.js("document.querySelector('#grid tbody th').title").endswith("x-1]")
    shades = browser.js(
        "new Set([...document.querySelectorAll('path.line')].map(line => line.className.baseVal)).size"
    )
    assert shades == 12
    assert browser.js("document.querySelectorAll('#curve-legend .swatch').length") == 5
    assert browser.errors == []


HOSTILE = [
    "<img src=x onerror=\"document.title='HIT'\">",
    "</script><script>document.title='HIT'</script>",
    "<svg onload=\"document.title='HIT'\"></svg>",
    "javascript:document.title='HIT'",
    '"><iframe srcdoc="<script>parent.document.title=\'HIT\'</script>">',
    "${document.title='HIT'}",
    "__proto__",
    "constructor",
]


def test_what_pods_wrote_is_text(browser: Browser, tmp_path: Path) -> None:
    """Ids, parameters, metrics, reasons, logs, file names and pictures that try to act are shown as text."""
    base = report_of(0.1, 2, 2)
    reports = []
    for number, text in enumerate(HOSTILE):
        place = tmp_path / f"node{number}"
        (place / "artifacts").mkdir(parents=True)
        (place / "output.log").write_text(text)
        (place / "artifacts" / "a.png").write_bytes(b"\x89PNG\r\n\x1a\n" + text.encode())
        (place / "artifacts" / f"{text.replace('/', '_')}.txt").write_text(text)
        (place / "series.jsonl").write_text(
            json.dumps({"step": 1, "values": {text: 1}}) + "\n" + json.dumps({"step": 2, "values": {text: 2}})
        )
        reports.append(
            replace(
                base,
                node=replace(base.node, id=f"deploy_a.py::{text}", parameters={text: text, "lr": number}),
                result=replace(base.result, reason=text),
                metrics={text: text, "loss": number},
                pod=PodRecord(id=text, name=text, gpu=text, image=text),
                artifacts=report_of(0.01, 1, 2).artifacts,
                failure=Failure(place=text, source_line=text, traceback=(text,), hint=text, teardown=(text,)),
                folder=str(place),
            )
        )
    info = RunInfo(
        id=HOSTILE[0],
        finished="-",
        argv=(HOSTILE[1],),
        git_sha=HOSTILE[2],
        backend=HOSTILE[0],
        damage=HOSTILE[4],
    )
    path = tmp_path / "hostile.html"
    path.write_text(
        dumps([PastRun(info=info, state=RunState.DAMAGED, reports=tuple(reports))], path=path, notes=HOSTILE),
        encoding="utf-8",
    )
    browser.show()
    browser.open(path.as_uri())
    for number in range(len(HOSTILE)):
        browser.js(f"[...document.querySelectorAll('#grid tbody button')][{number}].click()")
        assert browser.js("document.querySelector('#node h2').textContent") in HOSTILE
        browser.js("document.getElementById('node').close()")
    assert "HIT" not in browser.js("document.title").replace("='HIT'", "")
    assert (
        browser.js(
            "document.querySelectorAll('iframe, script, object, embed, main svg[onload], [onerror]').length"
        )
        == 2
    )
    assert browser.js("[...document.links].every(each => each.protocol === 'file:')")
    shown = browser.js("document.body.innerText")
    for text in HOSTILE:
        assert text in shown
    assert [error for error in browser.errors if "Content Security" in error or "Uncaught" in error] == []


def test_a_study_shows_how_its_best_came_about(browser: Browser, study: Path) -> None:
    """A dot for each trial that has the metric, a falling line, another axis on demand; arrow keys read trials out."""
    browser.open(study.as_uri())
    dots = "document.querySelectorAll('#history-charts circle').length"
    assert browser.js(dots) == 16
    assert "lowest 0.3" in browser.js("document.querySelector('#history figcaption').textContent")
    heights = browser.js(
        "[...document.querySelectorAll('#history-charts circle.best')].map(dot => Number(dot.getAttribute('cy')))"
    )
    assert len(heights) > 1
    assert heights == sorted(heights)
    browser.js(
        "(() => { const over = document.getElementById('history-over'); over.value = 'dollars'; over.dispatchEvent(new Event('change')); })()"
    )
    assert "$" in browser.js("document.querySelector('#history-charts svg').textContent")
    browser.js("document.querySelector('#history-charts svg').focus()")
    browser.key("ArrowRight")
    browser.until("document.getElementById('said').textContent.includes('the best so far')")
    assert browser.errors == []
