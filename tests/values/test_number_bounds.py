"""Absurd numbers: in no field, mark, flag or key is infinity, NaN, 1e300, a negative or a huge number taken."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from rpd.cli.commands import every_setting
from rpd.collect.marks import check_marks
from rpd.config.checked import check_value, parse_text
from rpd.errors import DefinitionError, RpdError, UsageError
from rpd.values.frozen import field_names
from rpd.values.job import Budget, Gpu, Job, Storage
from rpd.values.mark import Mark
from rpd.values.number_bounds import read_whole
from rpd.values.retry import CAUSES

ABSURD: list[Any] = [
    float("inf"), float("-inf"), float("nan"), 1e300, -1e300, -1, 10**400, -(10**400), 10**15, True, "nan", "inf",
    "1e300", "-1", Decimal("NaN"), 1j, [1], "",
]  # fmt: skip
ABSURD_TEXTS = [
    "inf",
    "-inf",
    "nan",
    "1e300",
    "-1",
    "-1e300",
    "9" * 30,
    "9" * 5000,
    "\u00b2",
    "1.5.5",
    "x",
    "",
]

MAKE: dict[type, Callable[..., Any]] = {
    Gpu: lambda **fields: Gpu("NVIDIA L4", **fields),
    Storage: Storage,
    Budget: Budget,
    Job: Job,
}
NUMERIC = [
    (kind, name)
    for kind in MAKE
    for name in field_names(kind)
    if {"int", "float"} & set(str(kind.__annotations__[name]).split(" | "))
]


def test_the_numeric_fields_are_found() -> None:
    """The list is read from the values, so that a new field is tried as well."""
    names = {name for _, name in NUMERIC}
    assert names == {
        "count", "min_vram_gb", "max_price_usd", "volume_gb", "cost_cap_usd", "max_runtime", "ssh_ready_timeout",
        "container_disk_gb", "min_vcpu", "min_memory_gb",
    }  # fmt: skip


@pytest.mark.parametrize("value", ABSURD, ids=lambda value: f"{value!r:.20}")
@pytest.mark.parametrize(("kind", "name"), NUMERIC, ids=lambda each: getattr(each, "__name__", each))
def test_no_field_takes_an_absurd_number(kind: type, name: str, value: Any) -> None:
    """The error names the field, the rule and the value."""
    with pytest.raises(DefinitionError, match="expected") as caught:
        MAKE[kind](**{name: value})
    assert (caught.value.owner, caught.value.field) == (kind.__name__, name)
    assert "got " in caught.value.message


MARKS = [
    *(("retry", {cause: None}) for cause in CAUSES),
    ("timeout", {"job": None}),
    ("timeout", {"silent": None}),
    ("slots", {"gpu": None}),
    *(("budget", {name: None}) for name in field_names(Budget)),
    *(("gpu", {name: None}) for name in ("count", "min_vram_gb", "max_price_usd")),
]


@pytest.mark.parametrize("value", ABSURD, ids=lambda value: f"{value!r:.20}")
@pytest.mark.parametrize(("name", "given"), MARKS, ids=lambda each: str(each))
def test_no_mark_takes_an_absurd_number(name: str, given: dict[str, None], value: Any) -> None:
    """Marks are checked when they are collected, by the same rules."""
    args = ("NVIDIA L4",) if name == "gpu" else ()
    with pytest.raises(RpdError, match="expected"):
        check_marks([Mark(name, args, dict.fromkeys(given, value))], {name: ""}, strict=True)


NUMBERS = [setting for setting in every_setting() if setting.kind.split(" ")[0] in ("int", "float")]


@pytest.mark.parametrize("text", ABSURD_TEXTS, ids=lambda text: f"{text:.10}")
@pytest.mark.parametrize(
    "setting", [each for each in NUMBERS if each.action == "store"], ids=lambda each: each.name
)
def test_no_setting_takes_an_absurd_number(setting: Any, text: str) -> None:
    """Neither as a flag, nor in the environment or with ``-o``, nor as a text or a number in the file."""
    with pytest.raises(UsageError, match="expected"):
        parse_text(setting, text, "flag")
    if setting.key:
        for value in (text, *ABSURD[:10]):
            with pytest.raises(UsageError, match="expected"):
                check_value(setting.key, value, "rpd.toml")


@pytest.mark.parametrize("value", ABSURD, ids=lambda value: f"{value!r:.20}")
def test_no_time_of_an_ssh_connection_is_absurd(value: Any) -> None:
    """A table of durations is checked as others are."""
    with pytest.raises(UsageError, match=r"give_up_after: expected"):
        check_value("ssh", {"give_up_after": value}, "rpd.toml")


@pytest.mark.parametrize(
    "port", ["0/tcp", "65536/tcp", "99999/http", "\u0661\u0662/tcp", "-1/tcp", "1e3/tcp"]
)
def test_no_port_is_absurd(port: str) -> None:
    """Ports are numbers in a text."""
    with pytest.raises(DefinitionError, match=r"Job\.ports: expected"):
        Job(ports=(port,))


def test_what_people_mean_is_taken(tmp_path: Path) -> None:
    """The bounds are far from any real value."""
    Gpu("NVIDIA L4", count=32, max_price_usd=0.0001, min_vram_gb=2304)
    Budget(cost_cap_usd=100_000, max_runtime="60d", ssh_ready_timeout=1)
    Job(container_disk_gb=100_000, min_vcpu=512, min_memory_gb=8192, storage=Storage(volume_gb=100_000))
    assert read_whole("0" * 5000 + "7", least=0) == 7
