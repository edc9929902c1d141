"""``rpd gpus``: types, prices and stock, with a key and without."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from rpd.emulator.launch import Launched

Project = Any
NO_KEY = {"RUNPOD_API_KEY": None, "HOME": "/nonexistent"}


def test_prices_and_stock_are_live(project: Project, emulator: Launched) -> None:
    """A line a type: memory, price in both clouds, and the data centres that have it, the fullest first."""
    emulator.set_stock("NVIDIA L4", "EU-RO-1", 3)
    result = project.command("gpus", "l4", "eu-ro-1")
    emulator.set_stock("NVIDIA L4", "EU-RO-1", 256)
    [heading, line] = [line for line in result.out.splitlines() if "L40" not in line]
    assert heading.split() == ["GPU", "GB", "SECURE", "COMMUNITY", "STOCK", "(SECURE)"]
    assert line.split()[:5] == ["NVIDIA", "L4", "24", "$0.49/h", "-"]
    assert "AP-JP-1 high" in line
    assert (result.exit_code, result.err) == (0, "")


def test_a_data_centre_chooses_what_is_in_stock_there(project: Project, emulator: Launched) -> None:
    """The name of a data centre leaves the types that can be had there now."""
    emulator.set_stock("NVIDIA A40", "US-KS-2", 0)
    ids = {row["id"] for row in json.loads(project.command("gpus", "us-ks-2", "--json").out)["gpus"]}
    emulator.set_stock("NVIDIA A40", "US-KS-2", 256)
    assert "NVIDIA A40" not in ids
    assert "NVIDIA L4" in ids
    assert "NVIDIA A100-SXM4-40GB" not in ids
    table = project.command("gpus", "us-ks-2").out.splitlines()
    assert any(line.startswith("NVIDIA L4 ") and "  US-KS-2 high, " in line for line in table)


def test_json(project: Project, emulator: Launched) -> None:
    """JSON says whose numbers these are, and holds all of them."""
    document = json.loads(project.command("gpus", "h100", "hbm3", "--json").out)
    [row] = document["gpus"]
    assert document["source"] == f"emulator at {emulator.base_url}"
    assert (row["id"], row["memory_gb"], row["secure_usd_per_hr"]) == ("NVIDIA H100 80GB HBM3", 80, 3.29)
    assert row["stock"]["EU-RO-1"] == "high"
    assert (row["max_secure"], row["max_community"]) == (8, 1)


def test_without_a_key_the_shipped_table_serves(project: Project) -> None:
    """No API is called; a note on stderr says that the prices are of one day."""
    result = project.command("gpus", "H100", env=NO_KEY)
    assert result.exit_code == 0
    assert "shipped with rpd" in result.err
    assert {line.split()[-1] for line in result.out.splitlines()[1:]} == {"?"}
    assert json.loads(project.command("gpus", "--json", env=NO_KEY).out)["source"] == "shipped"


@pytest.mark.parametrize(
    ("word", "hint"),
    [
        ("zzz", "; `rpd gpus` lists them all"),
        ("A100 81", ": did you mean 'NVIDIA A100"),
        ("H1OO", ": did you mean 'NVIDIA H100 80GB HBM3' or "),
        ("b20o", ": did you mean 'NVIDIA B200'?"),
        ("4O90", ": did you mean 'NVIDIA GeForce RTX 4090'?"),
    ],
)
def test_no_such_type_is_an_error_of_usage(project: Project, word: str, hint: str) -> None:
    """Words that match nothing are reported with a suggestion: a letter for a digit, a wrong one."""
    result = project.command("gpus", *word.split(), env=NO_KEY)
    assert (result.exit_code, result.out) == (4, "")
    assert f"no GPU type fits {word!r}{hint}" in result.err


def test_a_data_centre_does_not_hide_a_slip(project: Project, emulator: Launched) -> None:
    """A misspelt type is reported next to a data centre as well; one that is not there now is no slip."""
    slip = project.command("gpus", "H1OO", "eu-ro-1")
    assert slip.exit_code == 4
    assert "no GPU type fits 'H1OO eu-ro-1': did you mean 'NVIDIA H100" in slip.err
    absent = project.command("gpus", "A100-SXM4-40GB", "us-ks-2")
    assert absent.exit_code == 4
    text = "no GPU type fits 'A100-SXM4-40GB us-ks-2'; `rpd gpus a100-sxm4-40gb` shows where there is stock"
    assert text in absent.err


def test_without_a_key_there_is_an_answer_for_every_flag(project: Project) -> None:
    """A data centre drops no row whose stock is unknown; clouds and orders need no key."""
    place = project.command("gpus", "L4", "EU-RO-1", env=NO_KEY)
    assert "NVIDIA L4" in place.out
    assert "stock in EU-RO-1 is unknown" in place.err
    result = project.command("gpus", "--cloud", "COMMUNITY", "--spot", "--sort", "price", env=NO_KEY)
    heading, *lines = result.out.splitlines()
    assert heading.split() == ["GPU", "GB", "COMMUNITY", "COMMUNITY", "SPOT", "STOCK", "(SECURE)"]
    assert "without an API key spot prices are unknown" in result.err
    assert not any("NVIDIA A40 " in line for line in lines)  # rented in Secure Cloud only
    prices = [float(match[1]) for line in lines if (match := re.search(r"\$([\d.]+)/h", line))]
    assert prices == sorted(prices)
    assert len(prices) > 5


def test_spot_prices(project: Project, emulator: Launched) -> None:
    """``--spot`` adds the price of a spot pod to that on demand."""
    _, line = project.command("gpus", "H100", "HBM3", "--cloud", "secure", "--spot").out.splitlines()
    on_demand, spot = (float(price) for price in re.findall(r"\$([\d.]+)/h", line))
    assert on_demand == spot == 3.29  # the emulator rents spot pods at the price of others


def test_a_refused_key_is_told(project: Project, emulator: Launched) -> None:
    """A wrong key is no reason to show old prices as if nothing were wrong."""
    result = project.command("gpus", env={"RUNPOD_API_KEY": "rpa_WRONG"})
    assert result.exit_code == 4
    assert "refuses the API key" in result.err
    assert "WRONG" not in result.err
