"""Prices and stock: their sources, how long they are used, and their copy on disk."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rpd.emulator.launch import Launched
from rpd.errors import TransientError
from rpd.runpod.catalogue.cache import CatalogueStore, default_store
from rpd.runpod.catalogue.live import CPUS, LiveCatalogue, Question
from rpd.runpod.catalogue.model import IN_STOCK, Catalogue, GpuRow, shipped_catalogue
from rpd.runpod.notices import Notices
from rpd.runpod.rate_limit import Retry, TokenBucket
from rpd.runpod.rest.client import Rest

OTHER = Catalogue(gpus={"X": GpuRow(id="X", memory_gb=1)}, complete=True)
L4 = "NVIDIA L4"


@pytest.fixture
def rest(account: Launched, monkeypatch: pytest.MonkeyPatch) -> Iterator[Rest]:
    monkeypatch.setenv("RUNPOD_API_BASE_URL", account.base_url)
    made = Rest(account.api_key, TokenBucket(rate=1000, burst=1000, sleep=lambda _: None))
    yield made
    made.close()
    account.clear_faults()


class Bench:
    """A live catalogue with a clock that is set by hand; ``graphql`` counts how often the other API was asked."""

    def __init__(
        self, rest: Rest, store: CatalogueStore, *, has_graphql: bool = True, **changes: float
    ) -> None:
        self.now = 0.0
        self.graphql = 0
        self.told: list[str] = []
        self.live = LiveCatalogue(
            rest,
            notices=Notices(self.told.append),
            store=store,
            graphql=self._other if has_graphql else None,
            retry=Retry(sleep=lambda _: None),
            clock=lambda: self.now,
            **changes,
        )

    def _other(self, count: int) -> Catalogue:
        self.graphql += 1
        return OTHER


def test_rest_tells_prices_stock_and_limits(rest: Rest, account: Launched) -> None:
    """The catalogue of REST v2 knows all that offers are made of."""
    account.set_stock(L4, "EU-RO-1", 2)
    bench = Bench(rest, CatalogueStore(None))
    result = bench.live.ask(Question(count=2))
    row = result.row(L4)
    assert row is not None
    assert (row.memory_gb, row.secure_usd_per_hr, row.community_usd_per_hr) == (24, 0.49, None)
    assert (row.max_secure, row.max_community) == (9, 0)
    assert result.stock_in(L4, "EU-RO-1") == "low"
    assert (result.stock_known, result.complete, bench.graphql) == (True, True, 0)
    assert bench.live.ask(CPUS).cpu_usd_per_vcpu_hr["cpu3m"] == 0.055
    account.set_stock(L4, "EU-RO-1", 256)


def test_graphql_answers_where_rest_does_not(rest: Rest, account: Launched) -> None:
    """A hiccup of REST is made good by GraphQL once; a server without REST is not asked for it again."""
    bench = Bench(rest, CatalogueStore(None), seconds=-1.0)
    account.inject({"kind": "hiccup", "times": 1, "match": {"face": "rest"}})
    assert bench.live.ask(Question()) is OTHER
    assert bench.live.ask(Question()) is not OTHER
    account.inject({"kind": "forbidden-html", "times": 1, "match": {"face": "rest"}})
    assert [bench.live.ask(Question()) for _ in range(2)] == [OTHER, OTHER]
    assert bench.told == []


def test_prices_of_spot_pods_are_graphqls(rest: Rest) -> None:
    """REST v2 knows no spot prices, so that it is not asked for them."""
    bench = Bench(rest, CatalogueStore(None))
    assert bench.live.ask(Question(spot=True)) is OTHER


def test_without_graphql_rest_is_tried_again_and_then_what_was_shipped(rest: Rest, account: Launched) -> None:
    """With only one API, hiccups are waited out; at last the shipped prices serve, with a notice."""
    bench = Bench(rest, CatalogueStore(None), has_graphql=False, seconds=-1.0)
    account.inject({"kind": "hiccup", "times": 2, "match": {"face": "rest"}})
    assert bench.live.ask(Question()).stock_known
    account.inject({"kind": "hiccup", "match": {"face": "rest"}})
    assert bench.live.ask(Question()) == shipped_catalogue()
    assert len(bench.told) == 1


def test_where_it_must_be_live_nothing_shipped_serves(rest: Rest, account: Launched) -> None:
    """A strict catalogue raises the error that kept it from being read, of CPUs as well, after a retry."""
    account.inject({"kind": "server-error", "match": {"face": "rest"}})
    alone = Bench(rest, CatalogueStore(None), has_graphql=False, strict=True)
    with pytest.raises(TransientError):
        alone.live.ask(Question())
    neighbour = Bench(rest, CatalogueStore(None), strict=True)
    assert neighbour.live.ask(Question()) is OTHER
    with pytest.raises(TransientError):
        neighbour.live.ask(CPUS)
    account.clear_faults()
    account.inject({"kind": "server-error", "times": 1, "match": {"face": "rest"}})
    assert neighbour.live.ask(CPUS).cpu_usd_per_vcpu_hr
    assert alone.told + neighbour.told == []


def test_an_answer_serves_for_a_minute(rest: Rest, account: Launched) -> None:
    """Within a process the same question is asked again only when its answer is old."""
    bench = Bench(rest, CatalogueStore(None), seconds=60.0)
    before = account.state()["requests"]
    for now in (0.0, 59.0, 61.0, 62.0):
        bench.now = now
        bench.live.ask(Question())
    assert account.state()["requests"] - before == 2


def test_the_next_command_reads_the_disk_for_an_hour(rest: Rest, account: Launched, tmp_path: Path) -> None:
    """Another process uses a catalogue less than an hour old, unless asked to refresh or long-lived."""
    now = [1000.0]
    store = CatalogueStore(tmp_path, clock=lambda: now[0])
    first = Bench(rest, store).live.ask(Question(count=1, cuda=("12.8",)))
    account.inject({"kind": "hiccup"})
    now[0] = 1000.0 + 3599
    bench = Bench(rest, store)
    assert bench.live.ask(Question(count=1, cuda=("12.8",))) == first
    assert bench.live.ask(Question(count=2)) is OTHER
    now[0] = 1000.0 + 3601
    assert Bench(rest, store).live.ask(Question(count=1, cuda=("12.8",))) is OTHER
    now[0] = 1001.0
    again = CatalogueStore(tmp_path, refresh=True, clock=lambda: now[0])
    assert Bench(rest, again).live.ask(Question(count=1, cuda=("12.8",))) is OTHER


def test_a_long_run_asks_again(rest: Rest, account: Launched, tmp_path: Path) -> None:
    """The disk serves the first question only: a run that waits for stock sees it come."""
    store = CatalogueStore(tmp_path)
    Bench(rest, store).live.ask(Question())
    bench = Bench(rest, store)
    bench.live.ask(Question())
    account.set_stock(L4, "EU-RO-1", 0)
    bench.now = 61.0
    assert bench.live.ask(Question()).stock_in(L4, "EU-RO-1") == "none"
    account.set_stock(L4, "EU-RO-1", 256)


def test_addresses_do_not_share_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Prices of one API are not taken for those of another."""
    monkeypatch.setenv("RUNPOD_API_BASE_URL", "https://one.example")
    CatalogueStore(tmp_path).write("q", OTHER)
    monkeypatch.setenv("RUNPOD_API_BASE_URL", "https://two.example")
    assert CatalogueStore(tmp_path).read("q") is None
    assert CatalogueStore(tmp_path, url="https://one.example").read("q") is not None


@pytest.mark.parametrize("text", ["", "{", "[]", '{"read_at": "x"}', '{"read_at": 0}'])
def test_a_damaged_file_is_no_answer(tmp_path: Path, text: str) -> None:
    """An unreadable file is fetched anew, and a folder that cannot be written is no error."""
    store = CatalogueStore(tmp_path, clock=lambda: 1.0)
    store.write("q", OTHER)
    [file] = tmp_path.iterdir()
    file.write_text(text)
    assert store.read("q") is None
    CatalogueStore(file / "below a file").write("q", OTHER)


def test_an_emulator_is_never_remembered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An API on this machine is asked each time: the next one may have its port."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv("RUNPOD_API_BASE_URL", "http://127.0.0.1:9")
    default_store().write("q", OTHER)
    assert list(tmp_path.rglob("*.json")) == []
    monkeypatch.delenv("RUNPOD_API_BASE_URL")
    default_store().write("q", OTHER)
    assert len(list(tmp_path.rglob("*.json"))) == 1


PRICES = st.none() | st.floats(0.01, 100)
ROWS = st.builds(
    GpuRow,
    id=st.text(min_size=1, max_size=5),
    memory_gb=st.integers(1, 300),
    secure_usd_per_hr=PRICES,
    community_spot_usd_per_hr=PRICES,
    max_secure=st.none() | st.integers(0, 32),
)
STOCK = st.dictionaries(st.text(max_size=4), st.dictionaries(st.text(max_size=4), st.sampled_from(IN_STOCK)))


@given(
    rows=st.lists(ROWS),
    stock=STOCK,
    known=st.booleans(),
    offered=st.none() | st.dictionaries(st.text(max_size=4), st.frozensets(st.text(max_size=4))),
    cpus=st.dictionaries(st.text(max_size=4), st.floats(0, 1)),
)
def test_a_catalogue_comes_back_as_it_was_kept(
    tmp_path_factory: pytest.TempPathFactory,
    rows: list[GpuRow],
    stock: dict[str, dict[str, str]],
    known: bool,
    offered: dict[str, frozenset[str]] | None,
    cpus: dict[str, float],
) -> None:
    """Every catalogue survives the disk unchanged."""
    kept = Catalogue(
        gpus={row.id: row for row in rows},
        stock=stock,
        stock_known=known,
        complete=known,
        offered=offered,
        cpu_usd_per_vcpu_hr=cpus,
    )
    store = CatalogueStore(tmp_path_factory.getbasetemp() / "kept")
    store.write("q", kept)
    assert store.read("q") == kept
