"""Settings as keyword arguments. Each is turned into the matching flags, and checked like those."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import timedelta
from functools import cache
from os import PathLike
from typing import Any, Literal, TypedDict

from rpd.config import Setting, settings
from rpd.errors import UsageError
from rpd.values.suggestions import closest

Text = str | PathLike[str]
Duration = str | float | timedelta
"""``"90m"``, seconds, or a timedelta."""


class NodeSettings(TypedDict, total=False):
    """The settings for collecting and selecting, named as in ``rpd collect --show-config``."""

    keyword: str
    markexpr: str
    deselect: str | Sequence[str]
    last_failed: bool | str | Sequence[str]
    failed_first: bool
    new_first: bool
    last_failed_no_failures: Literal["all", "none"]
    no_needs: bool
    stepwise: bool
    stepwise_skip: bool
    stepwise_reset: bool
    ignore: Text | Sequence[Text]
    ignore_glob: str | Sequence[str]
    continue_on_collection_errors: bool
    var: Mapping[str, object]
    sweep: Mapping[str, Iterable[object]]
    vars_file: Text
    full_trace: bool
    deploypaths: Sequence[str]
    deploy_files: Sequence[str]
    conftest: str
    markers: Sequence[str]
    strict_markers: bool
    strict_parametrization_ids: bool
    empty_parameter_set_mark: Literal["fail_at_collect", "skip", "xfail"]
    extra_gpu_ids: Sequence[str]
    variables: Mapping[str, object]
    job_defaults: Mapping[str, object]


class ForecastSettings(NodeSettings, total=False):
    """... and those for prices and caps (USD)."""

    cost_cap_usd: float
    max_runtime_seconds: Duration
    max_gpu_price: float
    gpu_id: str
    datacenter_id: str
    cloud: Literal["secure", "community", "any"]
    fallback_cloud: Literal["secure", "community"]
    ssh_ready_seconds: Duration
    refresh: bool
    runs_dir: Text


class RunSettings(ForecastSettings, total=False):
    """... and how it is run: where, how wide, when it stops."""

    local: bool
    gpus: bool
    python: Text
    pod_memory_mb: str
    pod_processes: int
    pod_disk_mb: str
    dry_run: bool
    dry_run_live: bool
    yes: bool
    width: int
    exitfirst: bool
    maxfail: int
    maxfail_action: Literal["drain", "kill"]
    budget: float
    confirm_above_usd: float
    wait_for_stock: Duration
    balance_interval: Duration
    lifecycle: Literal["sdk", "rest"]
    force_fresh: bool
    pin_images: bool
    keep_failed: Duration
    keep_unverified: Duration
    watchdog_linger: Duration
    watchdog_grace: Duration
    telemetry_interval: Duration
    stage_limit_mb: int
    ssh: Mapping[str, object]
    changed: bool
    explain: bool
    trials: int
    search_seed: int
    continue_study: str
    trial: str
    junit_xml: Text
    html: Text
    notify: str | Sequence[str]
    sort: str
    verbose: int
    quiet: int
    capture: bool
    traceback: Literal["auto", "long", "short", "line", "native", "no"]
    show_locals: bool
    show_capture: Literal["no", "log", "all"]
    no_header: bool
    no_summary: bool
    report_chars: str
    durations: int
    durations_min: Duration
    costs: int
    color: Literal["auto", "yes", "no"]


KINDS: Mapping[str, type] = {"collect": NodeSettings, "estimate": ForecastSettings, "run": RunSettings}
"""Command -> the settings that its call takes."""


@cache
def names(command: str) -> frozenset[str]:
    """Return the names of the settings that a call takes."""
    kind = KINDS[command]
    return frozenset(name for base in kind.__mro__ for name in getattr(base, "__annotations__", ()))


def check_name(command: str, name: str, also: Iterable[str] = ()) -> None:
    """Raise UsageError for a keyword that is no setting, with the one that is meant; ``also`` would do as well."""
    setting_names = names(command)
    if name in setting_names:
        return
    if name in settings():
        raise UsageError(
            f"{name}: this setting is for the command line; rpd.{_CALLS[command]} does not take it"
        )
    close = _by_flag(command).get(name.replace("_", "-")) or closest(name, [*setting_names, *also])
    meant = f"did you mean {close!r}?" if close else f"the settings are {', '.join(sorted(setting_names))}"
    raise UsageError(f"{name}: unknown setting; {meant}")


_CALLS = {"collect": "nodes", "estimate": "forecast", "run": "run"}


@cache
def _by_flag(command: str) -> Mapping[str, str]:
    """Return flag, without its dashes, to the name of its setting: ``n`` is ``width``."""
    setting_names = names(command)
    return {
        flag.lstrip("-"): name
        for name, setting in settings().items()
        if name in setting_names
        for flag in setting.flags
    }


def words_of(command: str, given: Mapping[str, Any]) -> list[str]:
    """Return the words of a command line that mean these settings. Raise UsageError that names the setting."""
    words: list[str] = []
    for name, value in given.items():
        check_name(command, name)
        if value is not None:
            words += _words(name, settings()[name], value)
    return words


def _words(name: str, setting: Setting, value: Any) -> Iterator[str]:
    if setting.kind == "bool":
        yield from _switch(name, setting, value)
    elif setting.action == "count":
        yield from [setting.flags[0]] * _count(name, value)
    elif name == "last_failed":
        if value is not False:
            yield f"--lf={'all' if value is True else _text(name, setting, ','.join(_several(value)))}"
    elif not setting.flags:
        yield from ("-o", f"{setting.key}={_toml(_checked_key(name, setting, value))}")
    elif setting.appends:
        for each in _items(name, value):
            yield _joined(setting, _text(name, setting, each))
    else:
        yield _joined(setting, _text(name, setting, value))


def _switch(name: str, setting: Setting, value: Any) -> Iterator[str]:
    if not isinstance(value, bool):
        raise UsageError(f"{name}: expected True or False, got {value!r}")
    if not setting.flags:
        yield from ("-o", f"{setting.key}={_toml(value)}")
    elif value is (setting.action == "store_true"):
        yield max(setting.flags, key=len)


def _count(name: str, value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise UsageError(f"{name}: expected a whole number from 0, got {value!r}")
    return value


def _joined(setting: Setting, text: str) -> str:
    """Return a flag with its value as one word, so that no value is taken for a flag."""
    return f"{max(setting.flags, key=len)}={text}"


def _several(value: Any) -> list[Any]:
    return [value] if isinstance(value, str | PathLike) or not isinstance(value, Iterable) else list(value)


def _items(name: str, value: Any) -> Iterator[Any]:
    """Yield the values of a setting that may be given several times; a mapping is one of names and values."""
    if not isinstance(value, Mapping):
        if name in ("var", "sweep"):
            raise UsageError(f"{name}: expected a mapping of names and values, got {value!r}")
        yield from _several(value)
        return
    for key, item in value.items():
        if name == "sweep":
            texts = [_variable(name, key, each) for each in _several(item)]
            if any("," in text for text in texts):
                raise UsageError(f"sweep: {key}: a value has a comma in it: use rpd.mark.parametrize")
            yield f"{key}={','.join(texts)}"
        else:
            yield f"{key}={_variable(name, key, item)}"


def _variable(name: str, key: object, value: Any) -> str:
    """Return the value of a variable as somebody would type it."""
    if isinstance(value, str):
        return value
    if isinstance(value, PathLike):
        return str(value)
    try:
        return json.dumps(value)
    except (TypeError, ValueError):
        raise UsageError(f"{name}: {key}: expected a string, a number or the like, got {value!r}") from None


def _text(name: str, setting: Setting, value: Any) -> str:
    """Return a value as the text of a flag, checked as that is. Raise UsageError."""
    text = _plain(name, value)
    if setting.parse is not None:
        try:
            parsed = setting.parse(text)
        except ValueError as error:
            raise UsageError(f"{name}: {error}, got {value!r}") from None
        text = parsed if setting.choices else text
    if setting.choices and text not in setting.choices:
        close = closest(str(text), setting.choices)
        meant = f"; did you mean {close!r}?" if close else ""
        raise UsageError(f"{name}: expected one of {', '.join(setting.choices)}, got {value!r}{meant}")
    return text


def _plain(name: str, value: Any) -> str:
    if isinstance(value, timedelta):
        return _seconds(value.total_seconds())
    if isinstance(value, str | PathLike):
        return str(value)
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise UsageError(f"{name}: expected a string or a number, got {value!r}")
    # A number of a setting in seconds is one of seconds, also where the flag is in minutes.
    return _seconds(value) if name.endswith("_seconds") else str(value)


def _seconds(value: float) -> str:
    text = f"{value:f}"  # never with an exponent, which no duration has
    return f"{text.rstrip('0').rstrip('.')}s"


def _checked_key(name: str, setting: Setting, value: Any) -> Any:
    if isinstance(value, timedelta):
        return _seconds(value.total_seconds())
    if setting.parse is not None and not isinstance(value, str):
        _text(name, setting, value)
    return value


def _toml(value: Any) -> str:
    """Return a value as TOML has it on one line."""
    if isinstance(value, Mapping):
        return f"{{{', '.join(f'{json.dumps(str(key))} = {_toml(item)}' for key, item in value.items())}}}"
    if isinstance(value, str | PathLike):
        return json.dumps(str(value))
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int | float):
        return repr(value)
    if isinstance(value, Iterable):
        return f"[{', '.join(map(_toml, value))}]"
    raise UsageError(f"expected a value that a configuration file can hold, got {value!r}")
