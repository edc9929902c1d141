"""``rpd gpus``: the GPU types that RunPod rents, with prices and stock."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict
from typing import Any

from rpd.cli.command_options import GpusOptions
from rpd.cli.json_document import say_document
from rpd.cli.output import note, say
from rpd.cli.stderr_notices import tell
from rpd.cli.table import table
from rpd.config import Config
from rpd.errors import ExitCode, UsageError
from rpd.hooks import PluginManager
from rpd.pipeline.price_source import SHIPPED, price_source
from rpd.runpod.catalogue.model import Catalogue, GpuRow, shipped_catalogue
from rpd.values.datacenters import KNOWN_DATACENTERS
from rpd.values.frozen import frozen
from rpd.values.gpus import PRICES_READ_ON, closest_gpu_ids
from rpd.values.pod import Cloud

_PLACES_SHOWN = 4


def main(config: Config, manager: PluginManager) -> int:
    """Print the GPU types whose ids hold all the words, or that are in stock in the data centres among them."""
    own: GpusOptions = config.own
    del manager
    view = _View(
        clouds=_CLOUDS[config.pods.cloud or "any"],
        spot=own.show_spot,
        order=own.sort_gpus,
        words=frozenset(word.upper() for word in config.args),
    )
    with price_source(config, tell) as source:
        catalogue = source.live.catalogue(spot=view.spot) if source.live else shipped_catalogue()
    rows = _chosen(catalogue, config.args, view)
    if config.output.as_json:
        read_on = None if source.live else PRICES_READ_ON
        say_document({"source": source.name, "read_on": read_on, "gpus": _tables(rows, catalogue)})
        return ExitCode.OK
    if source.live is None:
        note(f"rpd: {SHIPPED}")
        _tell_unknown(config.args, spot=view.spot)
    lines = [view.head, *(view.cells(row, catalogue) for row in rows)]
    stock = len(view.head) - 1
    say("\n".join(table(lines, right=(1,), cut={0: 24, stock: 15}, leave_out=(stock,))))
    return ExitCode.OK


def _tell_unknown(words: Sequence[str], *, spot: bool) -> None:
    """Say which answers need a key."""
    if places := sorted({word.upper() for word in words} & KNOWN_DATACENTERS):
        note(f"rpd: without an API key the stock in {', '.join(places)} is unknown: all types are listed")
    if spot:
        note("rpd: without an API key spot prices are unknown")


_CLOUDS = {"any": (Cloud.SECURE, Cloud.COMMUNITY), "secure": (Cloud.SECURE,), "community": (Cloud.COMMUNITY,)}


@frozen
class _View:
    """Which prices are shown, and in which order the types stand."""

    clouds: tuple[Cloud, ...]
    spot: bool
    order: str
    words: frozenset[str]
    """What was asked for, in capitals: of the places of a type, those among it come first."""

    @property
    def head(self) -> tuple[str, ...]:
        prices = [
            f"{cloud.upper()}{' SPOT' if spot else ''}" for cloud in self.clouds for spot in self._kinds
        ]
        return ("GPU", "GB", *prices, "STOCK (SECURE)")

    @property
    def _kinds(self) -> tuple[bool, ...]:
        return (False, True) if self.spot else (False,)

    def cells(self, row: GpuRow, catalogue: Catalogue) -> tuple[str, ...]:
        prices = [_price(self._usd(row, cloud, spot=spot)) for cloud in self.clouds for spot in self._kinds]
        return row.id, str(row.memory_gb), *prices, _stock(row, catalogue, self.words)

    def place(self, row: GpuRow) -> tuple[object, ...]:
        """Return the sort key of a row; with ``--spot`` by the price of a spot pod, if it is known."""
        prices = (row.price(cloud, spot=self.spot) for cloud in self.clouds if row.rents(cloud, 1))
        price = min((usd for usd in prices if usd is not None), default=float("inf"))
        return {"price": (price, row.id), "name": (row.id,)}.get(self.order, (row.memory_gb, price, row.id))

    def has(self, row: GpuRow) -> bool:
        """Return whether the one cloud that is looked at has a price for the type."""
        return len(self.clouds) > 1 or self._usd(row, self.clouds[0], spot=False) is not None

    @staticmethod
    def _usd(row: GpuRow, cloud: Cloud, *, spot: bool) -> float | None:
        if not row.rents(cloud, 1):
            return None
        spot_usd = row.secure_spot_usd_per_hr if cloud is Cloud.SECURE else row.community_spot_usd_per_hr
        return spot_usd if spot else row.price(cloud)


def _chosen(catalogue: Catalogue, words: Sequence[str], view: _View) -> list[GpuRow]:
    """Return the rows wanted, in order. Raise UsageError if none is left."""
    known_places = {place for places in catalogue.stock.values() for place in places}
    place_words = {word.upper() for word in words} & (
        known_places if catalogue.stock_known else KNOWN_DATACENTERS
    )
    texts = [word.lower() for word in words if word.upper() not in place_words]
    places = place_words if catalogue.stock_known else set()
    rows = [
        row
        for row in catalogue.gpus.values()
        if all(text in row.id.lower() for text in texts)
        and places <= set(catalogue.stock.get(row.id, ()))
        and view.has(row)
    ]
    if not rows:
        raise UsageError(f"no GPU type fits {' '.join(words)!r}{_meant(catalogue, texts)}")
    return sorted(rows, key=view.place)


def _meant(catalogue: Catalogue, texts: Sequence[str]) -> str:
    """Return advice about ``texts``, the words besides data centres, if nothing matches them."""
    if any(all(text in gpu_id.lower() for text in texts) for gpu_id in catalogue.gpus):
        return f"; `{' '.join(['rpd gpus', *texts])}` shows where there is stock"
    if len(texts) > 1 and all(any(text in gpu_id.lower() for gpu_id in catalogue.gpus) for text in texts):
        return f": its name has to hold every word. Ask for one at a time: rpd gpus {texts[0]}"
    tries = (closest_gpu_ids(text, catalogue.gpus) for text in (" ".join(texts), *texts))
    close = next(filter(None, tries), ())
    return f": did you mean {' or '.join(map(repr, close))}?" if close else "; `rpd gpus` lists them all"


def _price(usd: float | None) -> str:
    return "-" if usd is None else f"${usd:.2f}/h"


def _stock(row: GpuRow, catalogue: Catalogue, first: frozenset[str]) -> str:
    if not catalogue.stock_known:
        return "?"
    places = sorted(catalogue.datacenters_with(row.id), key=lambda place: place[0] not in first)
    shown = [f"{place} {level}" for place, level in places[:_PLACES_SHOWN]]
    more = len(places) - len(shown)
    return ", ".join([*shown, f"{more} more"] if more > 0 else shown) or "none"


def _tables(rows: Iterable[GpuRow], catalogue: Catalogue) -> list[dict[str, Any]]:
    return [
        {**asdict(row), "stock": dict(catalogue.datacenters_with(row.id)) if catalogue.stock_known else None}
        for row in rows
    ]
