"""Configuration: flag > environment > file > default, and every value knows where it came from."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rpd.cli.commands import every_setting
from rpd.config import Config, config_of, value_of
from rpd.config.checked import check_value, keys
from rpd.config.merge import make_config
from rpd.config.settings_file import find_root, override_value, read_file
from rpd.errors import UsageError


def config(
    tmp: Path = Path("/project"), *, file: dict[str, Any] | None = None, environ: dict[str, str] | None = None,
    flags: dict[str, Any] | None = None,
) -> Config:  # fmt: skip
    return make_config(
        command="run", rootdir=tmp, invocation_dir=tmp, config_file=tmp / "rpd.toml", file_values=file or {},
        flags=flags or {}, args=(), environ=environ or {},
    )  # fmt: skip


@given(
    file=st.none() | st.integers(1, 9), environ=st.none() | st.integers(10, 19), flag=st.none() | st.integers(20, 29),
    override=st.none() | st.integers(30, 39),
)  # fmt: skip
def test_precedence(file: int | None, environ: int | None, flag: int | None, override: int | None) -> None:
    """A flag beats the environment, that beats ``-o``, that the file, that the default; the source says which won."""
    flags: dict[str, Any] = {} if flag is None else {"width": flag}
    if override is not None:
        flags["overrides"] = (("n", str(override)),)
    made = config(
        file={} if file is None else {"n": file},
        environ={} if environ is None else {"RPD_N": str(environ)},
        flags=flags,
    )
    given_ = [
        (flag, "flag -n"), (environ, "environment RPD_N"), (override, "flag -o"), (file, "rpd.toml"), (1, "default"),
    ]  # fmt: skip
    value, source = next((value, source) for value, source in given_ if value is not None)
    assert (made.run.width, made.sources.get("width", "default")) == (value, source)


def test_lists_of_flags_add_to_the_file() -> None:
    """A repeatable flag adds to the file's values instead of replacing them."""
    made = config(file={"ignore": ("a",)}, flags={"ignore": ("b", "c")})
    assert made.collect.ignore == ("a", "b", "c")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("run_dir = 'x'", "rpd.toml: unknown key 'run_dir'. Did you mean 'runs_dir'"),
        ("nonsense = 1", "unknown key 'nonsense'. The keys are"),
        ("n = 'x'", "n: expected a whole number"),
        ("n = true", "n: expected a whole number"),
        ("deploypaths = [1]", "deploypaths: expected a list of strings"),
        ("strict_markers = 1", "strict_markers: expected true or false"),
        ("variables = 1", "variables: expected a table"),
        ("n =", "not valid TOML"),
    ],
)
def test_wrong_files_are_reported(text: str, message: str, tmp_path: Path) -> None:
    """An unknown key, a wrong type or broken TOML is a UsageError with file, key and expected type."""
    path = tmp_path / "rpd.toml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(UsageError) as raised:
        read_file(path)
    assert message in str(raised.value)
    assert "rpd.toml" in str(raised.value)


def test_the_table_of_ssh(tmp_path: Path) -> None:
    """``[ssh]`` takes durations for the keys it has, keeps its defaults, and refuses everything else."""
    assert config().pods.ssh == {"give_up_after": 300.0}
    assert check_value("ssh", {"give_up_after": "90s"}, "rpd.toml") == {"give_up_after": 90.0}
    assert override_value("ssh", '{give_up_after = "1m"}') == {"give_up_after": 60.0}
    with pytest.raises(
        UsageError, match=r"rpd.toml: ssh: unknown key 'give_up_afer'. Did you mean 'give_up_after'"
    ):
        check_value("ssh", {"give_up_afer": "90s"}, "rpd.toml")
    with pytest.raises(UsageError, match=r"rpd.toml: ssh.give_up_after: expected a duration .*, got 'soon'"):
        check_value("ssh", {"give_up_after": "soon"}, "rpd.toml")


def test_a_wrong_variable_is_reported() -> None:
    """A wrong value in the environment names the variable."""
    with pytest.raises(UsageError, match="RPD_N: expected a whole number >= 1, got 'many'"):
        config(environ={"RPD_N": "many"})


def test_a_file_is_found_upwards(tmp_path: Path) -> None:
    """The root is the nearest folder upwards with an ``rpd.toml`` or a ``[tool.rpd]``; another pyproject is none."""
    deep = tmp_path / "a" / "b" / "c"
    deep.mkdir(parents=True)
    (tmp_path / "pyproject.toml").write_text("[tool.rpd]\nn = 2\n", encoding="utf-8")
    (tmp_path / "a" / "b" / "pyproject.toml").write_text("[tool.other]\n", encoding="utf-8")
    assert find_root(deep) == (tmp_path, tmp_path / "pyproject.toml")
    assert read_file(tmp_path / "pyproject.toml") == {"n": 2}
    (tmp_path / "a" / "rpd.toml").write_text("n = 3\n", encoding="utf-8")
    assert find_root(deep) == (tmp_path / "a", tmp_path / "a" / "rpd.toml")
    (tmp_path / "a" / "pyproject.toml").write_text("[tool.rpd]\nn = 4\n", encoding="utf-8")
    assert find_root(deep)[1] == tmp_path / "a" / "rpd.toml"


def test_overrides_read_as_toml() -> None:
    """``-o key=value`` takes the same values as the file; text that is no TOML is text."""
    assert override_value("n", "5") == 5
    assert override_value("deploypaths", '["a", "b"]') == ("a", "b")
    assert override_value("runs_dir", "some/where") == "some/where"
    with pytest.raises(UsageError, match="-o: unknown key"):
        override_value("nn", "5")


def test_a_lone_string_is_a_list_of_one() -> None:
    """Where a list of strings is expected, one string will do."""
    assert check_value("deploypaths", "jobs", "rpd.toml") == ("jobs",)


def test_defaults_pass_their_own_checks() -> None:
    """Every setting that a file may set has a default of the type the file must have."""
    made = config()
    for key, setting in keys().items():
        default = value_of(made, setting.name)
        if default is None or default == "":
            continue
        plain = (
            list(default)
            if isinstance(default, tuple)
            else dict(default)
            if hasattr(default, "keys")
            else default
        )
        check_value(key, plain, "rpd.toml")


def test_every_setting_is_explained_and_reachable() -> None:
    """Every setting has a help text, and a flag, a key or a variable that sets it; no flag or key stands for two."""
    declared = every_setting()
    assert all(setting.help and (setting.flags or setting.key or setting.env) for setting in declared)
    keyed = [setting.key for setting in declared if setting.key]
    assert len(keyed) == len(set(keyed))
    for command in {command for setting in declared for command in setting.commands}:
        flags = [flag for setting in declared if command in setting.commands for flag in setting.flags]
        assert len(flags) == len(set(flags)), command


@pytest.mark.parametrize(
    ("name", "folder"),
    [("rpd-runs", "/p/rpd-runs"), ("~/runs", "/home/me/runs"), ("/r", "/r"), ("a~b", "/p/a~b")],
)
def test_the_runs_folder_may_be_in_the_home_folder(
    name: str, folder: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No shell reads a settings file, and who removes a folder named ``~`` may remove another one."""
    monkeypatch.setenv("HOME", "/home/me")
    config = config_of(command="run", rootdir=Path("/p"), invocation_dir=Path("/p"), runs_dir=name)
    assert config.runs_path == Path(folder)
