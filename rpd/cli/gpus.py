"""``rpd gpus``: which GPU types RunPod rents, at what price, and where they are in stock."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from typing import Any

from rpd.cli.output import note, say
from rpd.cli.price_source import SHIPPED, price_source
from rpd.cli.table import table
from rpd.config import Config
from rpd.errors import ExitCode, UsageError
from rpd.hooks import PluginManager
from rpd.runpod.catalogue.model import Catalogue, GpuRow, shipped_catalogue
from rpd.values.gpus import PRICES_READ_ON, closest_gpu_ids

_HEAD = ("GPU", "GB", "SECURE", "COMMUNITY", "STOCK (SECURE)")
_PLACES_SHOWN = 4


def main(config: Config, manager: PluginManager) -> int:
    """Print the GPU types whose ids hold all the words, or that are in stock in the data centres among them."""
    del manager
    with price_source(config) as source:
        found = source.live.catalogue() if source.live else shipped_catalogue()
    rows = _chosen(found, config.args)
    if config.output.as_json:
        read_on = None if source.live else PRICES_READ_ON
        say(json.dumps({"source": source.name, "read_on": read_on, "gpus": _tables(rows, found)}, indent=2))
        return ExitCode.OK
    if source.live is None:
        note(f"rpd: {SHIPPED}")
    say(
        "\n".join(
            table(
                [_HEAD, *(_cells(row, found) for row in rows)], right=(1,), cut={0: 24, 4: 15}, leave_out=(4,)
            )
        )
    )
    return ExitCode.OK


def _chosen(catalogue: Catalogue, words: Sequence[str]) -> list[GpuRow]:
    """Return the rows wanted, by memory and then price. Raises UsageError where none is left."""
    known_places = {place for places in catalogue.stock.values() for place in places}
    places = {word.upper() for word in words} & known_places
    texts = [word.lower() for word in words if word.upper() not in places]
    rows = [
        row
        for row in catalogue.gpus.values()
        if all(text in row.id.lower() for text in texts) and places <= set(catalogue.stock.get(row.id, ()))
    ]
    if not rows:
        raise UsageError(f"no GPU type fits {' '.join(words)!r}{_meant(catalogue, texts)}")
    return sorted(rows, key=lambda row: (row.memory_gb, _cheapest(row), row.id))


def _meant(catalogue: Catalogue, texts: Sequence[str]) -> str:
    """Return what to do about ``texts``, the words besides data centres, where nothing fits them."""
    if any(all(text in gpu_id.lower() for text in texts) for gpu_id in catalogue.gpus):
        return f"; `{' '.join(['rpd gpus', *texts])}` shows where there is stock"
    tries = (closest_gpu_ids(text, catalogue.gpus) for text in (" ".join(texts), *texts))
    close = next(filter(None, tries), ())
    return f": did you mean {' or '.join(map(repr, close))}?" if close else "; `rpd gpus` lists them all"


def _cheapest(row: GpuRow) -> float:
    prices = (row.secure_usd_per_hr, row.community_usd_per_hr)
    return min((price for price in prices if price is not None), default=float("inf"))


def _cells(row: GpuRow, catalogue: Catalogue) -> tuple[str, ...]:
    secure = _price(row.secure_usd_per_hr, row.max_secure)
    community = _price(row.community_usd_per_hr, row.max_community)
    return row.id, str(row.memory_gb), secure, community, _stock(row, catalogue)


def _price(usd: float | None, most: int | None) -> str:
    return "-" if usd is None or most == 0 else f"${usd:.2f}/h"


def _stock(row: GpuRow, catalogue: Catalogue) -> str:
    if not catalogue.stock_known:
        return "?"
    places = catalogue.datacenters_with(row.id)
    shown = [f"{place} {level}" for place, level in places[:_PLACES_SHOWN]]
    more = len(places) - len(shown)
    return ", ".join([*shown, f"{more} more"] if more > 0 else shown) or "none"


def _tables(rows: Iterable[GpuRow], catalogue: Catalogue) -> list[dict[str, Any]]:
    return [
        {**asdict(row), "stock": dict(catalogue.datacenters_with(row.id)) if catalogue.stock_known else None}
        for row in rows
    ]
