"""Looking ahead: the nodes that would run, their cost, and the GPUs on offer. Creates nothing."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from contextvars import copy_context
from os import PathLike
from typing import TYPE_CHECKING, Any, Unpack, overload

from rpd.api import tables
from rpd.api.call import Call, What, folder_of
from rpd.api.functions import JobFunction
from rpd.api.settings import ForecastSettings, NodeSettings
from rpd.config import Config
from rpd.errors import CollectionError, CollectionFailed, NothingCollected, UsageError
from rpd.events import Events
from rpd.hooks import PluginManager
from rpd.pipeline.collect_and_select import Gathered, gather
from rpd.pipeline.command_line import Silent
from rpd.pipeline.estimate import Estimate, estimate
from rpd.pipeline.price_source import price_source
from rpd.pipeline.setup import configure
from rpd.pipeline.worst_case import make_overrides
from rpd.runpod.catalogue.model import Catalogue, GpuRow, shipped_catalogue
from rpd.values.frozen import EMPTY, frozen
from rpd.values.gpus import PRICES_READ_ON
from rpd.values.node import Node
from rpd.values.pod import Cloud

if TYPE_CHECKING:
    import pandas


class Heard:
    """The plugin that keeps the notices that the command line would print."""

    def __init__(self) -> None:
        self.notices: list[str] = []

    def rpd_notice(self, text: str) -> None:
        """Keep a notice."""
        self.notices.append(text)


class Nodes(Sequence[Node]):
    """The nodes that would run, in order.

    ``errors`` are those of unusable files; ``deselected`` is a number of nodes.
    """

    def __init__(
        self,
        nodes: Sequence[Node],
        errors: Sequence[CollectionError] = (),
        deselected: int = 0,
        notices: Sequence[str] = (),
    ) -> None:
        self._nodes = tuple(nodes)
        self.errors = tuple(errors)
        self.deselected = deselected
        self.notices = tuple(notices)

    @overload
    def __getitem__(self, at: int) -> Node: ...
    @overload
    def __getitem__(self, at: slice) -> Nodes: ...
    def __getitem__(self, at: int | slice) -> Node | Nodes:
        if isinstance(at, slice):
            return Nodes(self._nodes[at], self.errors, self.deselected, self.notices)
        return self._nodes[at]

    def __len__(self) -> int:
        return len(self._nodes)

    @property
    def ids(self) -> tuple[str, ...]:
        """The ids of the nodes."""
        return tuple(node.id for node in self._nodes)

    def rows(self) -> list[dict[str, Any]]:
        """Return a flat dict for each node."""
        return [
            {
                "node": node.id,
                "job": node.definition.name,
                "gpu": None if node.job.gpu is None else str(node.job.gpu),
                **{f"param.{name}": value for name, value in node.parameters.items()},
            }
            for node in self._nodes
        ]

    def to_pandas(self) -> pandas.DataFrame:
        """Return the rows as a DataFrame. Raise RpdError if pandas is not installed."""
        return tables.to_pandas(self.rows())

    def raise_for_errors(self) -> None:
        """Raise CollectionFailed if some file cannot be used."""
        if self.errors:
            raise CollectionFailed(self.errors)

    def _foot(self) -> str:
        parts = [f"{len(self)} node{'' if len(self) == 1 else 's'}"]
        parts += [f"{self.deselected} deselected"] if self.deselected else []
        parts += [f"{error.place}: {error}" for error in self.errors]
        return "\n".join([", ".join(parts[:2]), *parts[2:]]) if self.errors else ", ".join(parts)

    def __repr__(self) -> str:
        errors = f", {len(self.errors)} errors" if self.errors else ""
        return f"<Nodes: {len(self)} nodes{errors}>"

    def __str__(self) -> str:
        return "\n".join([*self.ids, self._foot()])

    def __rich__(self) -> str:
        """For rich: the text, with nothing read as markup."""
        return str(self).replace("[", "\\[")

    def _repr_html_(self) -> str:
        rows = self.rows()
        columns = tables.shown(
            ["node", *dict.fromkeys(name for row in rows for name in row if "." in name), "gpu"], rows
        )
        return tables.html_table(columns, rows[: tables.MOST_ROWS], self._foot())


@frozen
class NodeForecast:
    """The likely cost of one node. USD and seconds; None if unknown.

    ``gpu``, ``datacenter``, ``cloud`` and ``usd_per_hr`` are those of the first offer; ``expected_…`` come
    from the durations of earlier nodes of the job. ``in_stock`` is None if the stock is not known,
    ``trouble`` says why there is no offer.
    """

    id: str
    job: str
    parameters: Mapping[str, Any] = EMPTY
    gpu: str = ""
    datacenter: str = ""
    cloud: str = ""
    usd_per_hr: float | None = None
    expected_seconds: float | None = None
    expected_usd: float | None = None
    worst_case_usd: float = 0.0
    in_stock: bool | None = None
    trouble: str = ""


@frozen
class Forecast:
    """The worst-case cost of nodes, and the expected cost if they behave as they last did (USD).

    ``source`` is the origin of the prices: ``RunPod``, ``emulator at …`` or ``shipped``.
    """

    nodes: tuple[NodeForecast, ...]
    source: str
    notices: tuple[str, ...] = ()

    @property
    def worst_case_usd(self) -> float:
        """The cost of all nodes if each runs into its cap. A node without an offer counts with its cost cap."""
        return sum(node.worst_case_usd for node in self.nodes)

    @property
    def expected_usd(self) -> float | None:
        """The expected cost of all nodes; None if the duration of any of them is unknown."""
        costs = [node.expected_usd for node in self.nodes]
        return None if None in costs else sum(usd for usd in costs if usd is not None)

    @property
    def expected_seconds(self) -> float | None:
        """The duration of all nodes, one after the other; None if that of any of them is unknown."""
        durations = [node.expected_seconds for node in self.nodes]
        return None if None in durations else sum(seconds for seconds in durations if seconds is not None)

    def rows(self) -> list[dict[str, Any]]:
        """Return a flat dict for each node."""
        return [
            {
                "node": node.id,
                "job": node.job,
                **{f"param.{name}": value for name, value in node.parameters.items()},
                **{name: getattr(node, name) for name in _FORECAST},
            }
            for node in self.nodes
        ]

    def to_pandas(self) -> pandas.DataFrame:
        """Return the rows as a DataFrame. Raise RpdError if pandas is not installed."""
        return tables.to_pandas(self.rows())

    def _foot(self) -> str:
        expected = self.expected_usd
        amount = "unknown" if expected is None else f"${expected:.2f}"
        count = f"{len(self.nodes)} node{'' if len(self.nodes) == 1 else 's'}"
        return f"{count}, expected {amount}, at worst ${self.worst_case_usd:.2f} (prices: {self.source})"

    def __repr__(self) -> str:
        return f"<Forecast: {self._foot()}>"

    def __str__(self) -> str:
        rows = self.rows()
        columns = tables.shown(("node", *_FORECAST), rows)
        return tables.text_table(columns, rows[: tables.MOST_ROWS], self._foot())

    def __rich__(self) -> str:
        """For rich: the table, with no text read as markup."""
        return str(self).replace("[", "\\[")

    def _repr_html_(self) -> str:
        rows = self.rows()
        columns = tables.shown(("node", *_FORECAST), rows)
        return tables.html_table(columns, rows[: tables.MOST_ROWS], self._foot())


_FORECAST = (
    *(
        "gpu",
        "datacenter",
        "cloud",
        "usd_per_hr",
        "in_stock",
        "expected_seconds",
        "expected_usd",
        "worst_case_usd",
    ),
    "trouble",
)


@frozen
class Prices:
    """GPU types with their prices (USD per GPU and hour) and stock. ``source`` as in a Forecast.

    ``read_on`` is the day of prices that were shipped with rpd; empty for those that were asked for now.
    """

    catalogue: Catalogue
    source: str
    read_on: str = ""

    def __iter__(self) -> Iterator[GpuRow]:
        return iter(self.catalogue.gpus.values())

    def __len__(self) -> int:
        return len(self.catalogue.gpus)

    def row(self, gpu_id: str) -> GpuRow | None:
        """Return a GPU type; None for one that is not rented."""
        return self.catalogue.row(gpu_id)

    def usd_per_hr(self, gpu_id: str, *, cloud: str = "secure", spot: bool = False) -> float | None:
        """Return the price of one GPU per hour in USD; None if it is not known."""
        row = self.row(gpu_id)
        return None if row is None else row.price(Cloud(cloud), spot=spot)

    def stock(self, gpu_id: str, datacenter: str | None = None) -> str:
        """Return ``high``, ``medium``, ``low``, ``none`` or ``unknown``: there, or the best of all places."""
        return self.catalogue.stock_in(gpu_id, datacenter)

    def rows(self) -> list[dict[str, Any]]:
        """Return a flat dict for each GPU type."""
        return [
            {
                "gpu": row.id,
                "memory_gb": row.memory_gb,
                "secure_usd": row.secure_usd_per_hr,
                "community_usd": row.community_usd_per_hr,
                "secure_spot_usd": row.secure_spot_usd_per_hr,
                "community_spot_usd": row.community_spot_usd_per_hr,
                "stock": self.stock(row.id),
            }
            for row in self
        ]

    def to_pandas(self) -> pandas.DataFrame:
        """Return the rows as a DataFrame. Raise RpdError if pandas is not installed."""
        return tables.to_pandas(self.rows())

    def _foot(self) -> str:
        day = f" of {self.read_on}" if self.read_on else ""
        return f"{len(self)} GPU types, USD per GPU and hour (prices: {self.source}{day})"

    def __repr__(self) -> str:
        return f"<Prices: {self._foot()}>"

    def __str__(self) -> str:
        rows = self.rows()
        return tables.text_table(list(rows[0]) if rows else [], rows, self._foot())

    def __rich__(self) -> str:
        """For rich: the table, with no text read as markup."""
        return str(self).replace("[", "\\[")

    def _repr_html_(self) -> str:
        rows = self.rows()
        return tables.html_table(list(rows[0]) if rows else [], rows, self._foot())


@overload
def nodes(
    *what: What,
    root: str | PathLike[str] | None = ...,
    plugins: Sequence[object | str] = ...,
    flags: Sequence[str] = ...,
    **settings: Unpack[NodeSettings],
) -> Nodes: ...
@overload
def nodes(
    function: JobFunction,
    /,
    *what: What | JobFunction,
    root: str | PathLike[str] | None = ...,
    plugins: Sequence[object | str] = ...,
    flags: Sequence[str] = ...,
    parametrize: Mapping[str, object] | None = ...,
    **settings: Any,
) -> Nodes: ...
def nodes(
    *what: What | JobFunction,
    root: str | PathLike[str] | None = None,
    plugins: Sequence[object | str] = (),
    flags: Sequence[str] = (),
    parametrize: Mapping[str, object] | None = None,
    **settings: Any,
) -> Nodes:
    """Return the nodes of ``what``: paths, node ids or job functions; by default of the whole project.

    ``root`` is the folder to start from (default: the current one). A broken file is among ``errors``. Raise
    UsageError for a path, node or setting that does not exist.
    """
    call = Call(
        "collect", what, root=root, plugins=plugins, flags=flags, parametrize=parametrize, given=settings
    )
    heard = Heard()

    def collected() -> Gathered:
        with ExitStack() as stack:
            return gather(*call.open(stack, [heard]))

    collection = copy_context().run(collected)
    return Nodes(collection.nodes, collection.errors, collection.deselected, heard.notices)


@overload
def forecast(
    *what: What,
    live: bool = ...,
    root: str | PathLike[str] | None = ...,
    plugins: Sequence[object | str] = ...,
    flags: Sequence[str] = ...,
    **settings: Unpack[ForecastSettings],
) -> Forecast: ...
@overload
def forecast(
    function: JobFunction,
    /,
    *what: What | JobFunction,
    live: bool = ...,
    root: str | PathLike[str] | None = ...,
    plugins: Sequence[object | str] = ...,
    flags: Sequence[str] = ...,
    parametrize: Mapping[str, object] | None = ...,
    **settings: Any,
) -> Forecast: ...
def forecast(
    *what: What | JobFunction,
    live: bool = False,
    root: str | PathLike[str] | None = None,
    plugins: Sequence[object | str] = (),
    flags: Sequence[str] = (),
    parametrize: Mapping[str, object] | None = None,
    **settings: Any,
) -> Forecast:
    """Return the cost of ``what``, at the prices shipped with rpd, or with ``live`` at current ones (needs a key).

    Raise CollectionFailed if a file cannot be used and NothingCollected if nothing is selected, since a gate
    must not pass for either; UsageError, AuthError (``live`` without a key) and ProviderError.
    """
    call = Call(
        "estimate", what, root=root, plugins=plugins, flags=flags, parametrize=parametrize, given=settings
    )
    heard = Heard()

    def estimated() -> tuple[Config, list[Estimate], str]:
        with ExitStack() as stack:
            config, manager = call.open(stack, [heard])
            return _estimated(config, manager, live=live)

    config, ahead, source = copy_context().run(estimated)
    cap = make_overrides(config)
    return Forecast(
        nodes=tuple(_forecast(each, cap.budget(each.node.job.budget).cost_cap_usd) for each in ahead),
        source=source,
        notices=tuple(heard.notices),
    )


def _estimated(config: Config, manager: PluginManager, *, live: bool) -> tuple[Config, list[Estimate], str]:
    gathered = gather(config, manager)
    if gathered.errors:
        raise CollectionFailed(gathered.errors)
    if not gathered.nodes:
        raise NothingCollected(f"no node is selected ({gathered.deselected} deselected)")
    events = Events(manager)
    if live:
        from rpd.runpod.key import find_key

        find_key()
    with price_source(config, events.notice, live=live) as source:
        return config, estimate(config, gathered.nodes, source, events), source.name


def _forecast(row: Estimate, cap_usd: float) -> NodeForecast:
    offer, node = row.offer, row.node
    return NodeForecast(
        id=node.id,
        job=node.definition.name,
        parameters=node.parameters,
        gpu=(offer.gpu_id or "") if offer else "",
        datacenter=(offer.datacenter or "") if offer else "",
        cloud=str(offer.cloud) if offer else "",
        usd_per_hr=offer.usd_per_hr if offer else None,
        expected_seconds=row.seconds,
        expected_usd=row.expected_usd,
        worst_case_usd=cap_usd if row.worst_case_usd is None else row.worst_case_usd,
        in_stock=False if row.is_sold_out else None if offer is None or offer.stock == "unknown" else True,
        trouble=row.trouble,
    )


def prices(
    *,
    count: int = 1,
    live: bool = True,
    spot: bool = False,
    refresh: bool = False,
    root: str | PathLike[str] | None = None,
) -> Prices:
    """Return the GPU types, their prices and their stock for pods of ``count`` GPUs.

    ``live`` asks RunPod if there is a key; else, and without ``live``, they are those shipped with rpd. ``spot`` asks
    for the prices of spot pods, ``refresh`` passes over answers of the last hour. Raise ProviderError, UsageError.
    """
    if isinstance(count, bool) or not isinstance(count, int) or count < 1:
        raise UsageError(f"count: expected a whole number from 1, got {count!r}")
    config, manager = configure(Silent(name="gpus"), ["--refresh"] if refresh else [], folder_of(root))
    with price_source(config, Events(manager).notice, live=live) as source:
        if source.live is None:
            return Prices(catalogue=shipped_catalogue(), source=source.name, read_on=PRICES_READ_ON)
        return Prices(catalogue=source.live.catalogue(count, spot=spot), source=source.name)
