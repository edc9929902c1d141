"""The user's view of where an error came from."""

from __future__ import annotations

import json
import linecache
import os
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import pluggy
import pytest

from rpd.execute.user_tracebacks import LONGEST_VALUE, MOST_FRAMES, Style, text_of, user_frames
from rpd.project.libraries import is_library
from rpd.redaction import Redactor

DEPLOY = """
import json
from rpd.values.duration import parse_duration

def helper(text, depth=0):
    value = "v" * 9
    return json.loads(text)

def fit():
    for _ in range(1):
        helper("{")

def ours():
    parse_duration("soon")

def deep(depth):
    if depth:
        deep(depth - 1)
    raise ValueError("at the bottom")

def chained():
    try:
        helper("{")
    except ValueError as error:
        raise RuntimeError("no data") from error

class Odd:
    def __repr__(self):
        raise ValueError("no repr")

def odd():
    mine = Odd()
    long = "x" * 10_000
    _PRIVATE = 1
    raise KeyError(mine)
"""


@pytest.fixture
def raised(tmp_path: Path) -> Any:
    """``raised("fit")`` calls a function of DEPLOY and returns the exception it raised."""
    path = tmp_path / "deploy_x.py"
    path.write_text(DEPLOY.lstrip("\n"))
    linecache.checkcache(str(path))
    namespace: dict[str, Any] = {}
    exec(compile(path.read_text(), str(path), "exec"), namespace)

    def call(name: str, *args: Any) -> BaseException:
        with pytest.raises(Exception) as caught:
            namespace[name](*args)
        error = caught.value
        assert error.__traceback__
        # Without the frame of this very file.
        return error.with_traceback(error.__traceback__.tb_next)

    return call


def block(text: str) -> tuple[str, ...]:
    return tuple(textwrap.dedent(text).strip("\n").split("\n"))


def test_frames_are_the_users(raised: Any, tmp_path: Path) -> None:
    """Neither rpd nor the standard library is shown; the place is the user's deepest line."""
    shown = user_frames(raised("fit"), tmp_path)
    assert (shown.place, shown.source_line) == ("deploy_x.py:6", "return json.loads(text)")
    assert shown.lines == (
        "deploy_x.py:10",
        '    helper("{")',
        "deploy_x.py:6",
        "    return json.loads(text)",
    )
    assert user_frames(raised("ours"), tmp_path).place == "deploy_x.py:13"


def test_a_file_elsewhere_keeps_its_path(raised: Any, tmp_path: Path) -> None:
    """Only paths below the root folder are shown relative to it."""
    shown = user_frames(raised("fit"), tmp_path / "sub")
    assert shown.place == f"{tmp_path / 'deploy_x.py'}:6"


def test_no_frame_no_place(tmp_path: Path) -> None:
    """An exception that never went through a user's file has nothing to show."""
    shown = user_frames(ValueError("x"), tmp_path)
    assert (shown.place, shown.source_line, shown.lines) == ("", "", ())


def test_endless_recursion_is_shortened(raised: Any, tmp_path: Path) -> None:
    """Of many frames the first and the last ones are shown, and how many are between."""
    shown = user_frames(raised("deep", 100), tmp_path)
    assert shown.place == "deploy_x.py:18"
    assert f"… {101 - MOST_FRAMES} frames …" in shown.lines
    assert sum(line.startswith("deploy_x.py:") for line in shown.lines) == MOST_FRAMES
    exactly = user_frames(raised("deep", MOST_FRAMES - 1), tmp_path)
    assert not any("frames …" in line for line in exactly.lines)


def test_long_shows_the_source(raised: Any, tmp_path: Path) -> None:
    """Each frame is shown from the first line of its function to the line it stood at, which is marked."""
    assert user_frames(raised("fit"), tmp_path, Style(source=True)).lines == block(
        """
            def fit():
                for _ in range(1):
        >           helper("{")
        deploy_x.py:10
            def helper(text, depth=0):
                value = "v" * 9
        >       return json.loads(text)
        deploy_x.py:6
        """
    )


def test_native_is_pythons_own_without_others(raised: Any, tmp_path: Path) -> None:
    """Frames of others are left out, of the exceptions before it as well; full leaves nothing out."""
    native = user_frames(raised("chained"), tmp_path, Style(native=True))
    text = "\n".join(native.lines)
    assert native.lines[0] == "Traceback (most recent call last):"
    assert native.lines[-1] == "RuntimeError: no data"
    assert "The above exception was the direct cause" in text
    assert text.count('deploy_x.py", line') == 3
    assert "decoder.py" not in text
    full = "\n".join(user_frames(raised("chained"), tmp_path, Style(full=True)).lines)
    assert "decoder.py" in full
    assert user_frames(raised("chained"), tmp_path, Style(full=True)).place == "deploy_x.py:24"


@pytest.mark.parametrize("style", [Style(values=True), Style(values=True, native=True)])
def test_values_of_local_variables(raised: Any, tmp_path: Path, style: Style) -> None:
    """Each frame's variables are shown by name, long ones shortened, odd ones without harm."""
    lines = user_frames(raised("fit"), tmp_path, style).lines
    assert {"    _ = 0", "    depth = 0", "    text = '{'", "    value = 'vvvvvvvvv'"} <= {*lines}
    odd = user_frames(raised("odd"), tmp_path, style).lines
    assert any(line.startswith("    mine = <Odd instance at") for line in odd)
    assert max(len(line) for line in odd if line.startswith("    long = ")) <= LONGEST_VALUE + 11


def test_the_text_of_an_exception_that_has_none(raised: Any) -> None:
    """If ``str`` raises, the text says so."""
    assert text_of(ValueError("x")) == "x"
    assert text_of(raised("odd")) == "(its text is not available: ValueError)"


def test_packages_that_lie_elsewhere_are_no_users_code(tmp_path: Path) -> None:
    """Packages installed into a folder of any name (``pip install --target``) are not shown, pluggy least of all."""
    packages = Path(str(pluggy.__file__)).parents[1]
    (tmp_path / "layer").symlink_to(packages)
    (tmp_path / "project").mkdir()
    (tmp_path / "project/deploy_x.py").write_text(
        "import rpd\n\n@rpd.job\ndef fit():\n    raise ValueError('mine')\n"
    )
    root = Path(__file__).resolve().parents[2]
    done = subprocess.run(
        [sys.executable, "-S", "-m", "rpd", "--dry-run"],
        cwd=tmp_path / "project",
        env={"PATH": os.environ["PATH"], "PYTHONPATH": f"{tmp_path / 'layer'}{os.pathsep}{root}"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert "deploy_x.py:5" in done.stdout, done.stdout + done.stderr
    assert "pluggy" not in done.stdout


def test_a_users_folder_may_be_called_as_that_of_a_library(tmp_path: Path) -> None:
    """Only installed packages are left out, not whatever lies below ``lib/python3...``."""
    root = tmp_path / "lib" / "python3-experiments"
    assert not is_library(str(root / "deploy_x.py"), root)
    assert is_library(str(root / ".venv/lib/python3.12/site-packages/torch/__init__.py"), root)
    assert is_library(json.__file__, root)


def test_a_secret_longer_than_a_value_is_masked_before_it_is_cut(tmp_path: Path) -> None:
    """Of a token of 260 characters nothing is shown with -l: neither in a text, nor bytes, a list or an object."""
    token = "eyJ" + "".join(f"{number:05d}" for number in range(52))[:257]

    class Holder:
        def __repr__(self) -> str:
            return f"<Holder {token} {token.encode()!r}>"

    def fails(text: str, data: bytes, listed: list[str], holder: Holder, padded: str) -> None:
        raise ValueError("no")

    with pytest.raises(ValueError, match="no") as caught:
        fails(token, token.encode(), [token], Holder(), "x" * 200 + token + "y" * 200)
    message = "\n".join(user_frames(caught.value, tmp_path, Style(values=True), Redactor([token])).lines)

    assert message.count("***") >= 5
    assert "eyJ" not in message
    assert "00020" not in message
