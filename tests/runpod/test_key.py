"""Where the API key comes from."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from rpd.errors import AuthError
from rpd.runpod.key import find_key


def test_the_environment_wins(tmp_path: Path) -> None:
    """RUNPOD_API_KEY is taken before any file, without the spaces a paste brings."""
    config = tmp_path / "config.toml"
    config.write_text('[default]\napi_key = "from-file"\n')
    assert find_key({"RUNPOD_API_KEY": " rpa_env\n"}, config) == "rpa_env"


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ('[default]\napi_key = "sdk"\n', "sdk"),
        ('apikey = "ctl"\n', "ctl"),
        ('apikey = "ctl"\n[default]\napi_key = "sdk"\n', "sdk"),
        ('apikey = "ctl"\n[default]\nother = "x"\n', "ctl"),
        ('apikey = "ctl"\n[default]\napi_key = 5\n', "ctl"),
    ],
)
def test_both_tools_files_are_read(tmp_path: Path, text: str, key: str) -> None:
    """The SDK's table and runpodctl's top-level name both count, the SDK's first."""
    config = tmp_path / "config.toml"
    config.write_text(text)
    assert find_key({}, config) == key


@pytest.mark.parametrize("text", [None, "", "[default]\n", 'default = "x"\n', 'apikey = ""\n'])
def test_without_a_key_one_line_says_what_to_do(tmp_path: Path, text: str | None) -> None:
    """The message names both ways to give a key and where to get one."""
    config = tmp_path / "config.toml"
    if text is not None:
        config.write_text(text)
    with pytest.raises(AuthError) as caught:
        find_key({"RUNPOD_API_KEY": ""}, config)
    message = str(caught.value)
    assert "\n" not in message
    for piece in ("RUNPOD_API_KEY", "~/.runpod/config.toml", "https://console.runpod.io/user/settings"):
        assert piece in message


@pytest.mark.parametrize("text", ['apikey = "rpa_secret', "apikey rpa_secret", b"\xff\xfe rpa_secret"])
def test_a_broken_file_is_named_and_not_quoted(tmp_path: Path, text: str | bytes) -> None:
    """A file that is no TOML is an error that does not show its text."""
    config = tmp_path / "config.toml"
    config.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(AuthError) as caught:
        find_key({}, config)
    assert str(config) in str(caught.value)
    assert "rpa_secret" not in str(caught.value)


@pytest.mark.parametrize("key", ["rpa_a b", "rpa_é", "rpa\ta"])
def test_a_key_that_cannot_be_one_is_told_without_showing_it(tmp_path: Path, key: str) -> None:
    """A key with a space or an accent is a slip of the clipboard."""
    with pytest.raises(AuthError, match="RUNPOD_API_KEY") as caught:
        find_key({"RUNPOD_API_KEY": key}, tmp_path / "none")
    assert key not in str(caught.value)


def test_looking_for_the_key_imports_no_sdk(tmp_path: Path) -> None:
    """A missing key is found out without the seconds the SDK takes to import."""
    code = (
        "import sys\nfrom rpd.runpod.key import find_key\nfrom rpd.runpod import plugin\nimport rpd.runpod.dry.provider, rpd.runpod.catalogue.offers\n"
        "try: find_key()\nexcept Exception as e: print(type(e).__name__, 'runpod' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={"HOME": str(tmp_path), "PYTHONPATH": str(Path(__file__).parents[2])},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.split() == ["AuthError", "False"]
