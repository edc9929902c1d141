"""Secrets of a run: where their values come from, and that errors at collection do not repeat them."""

from __future__ import annotations

from pathlib import Path

import pytest

from rpd.config import config_of
from rpd.hooks import make_plugin_manager
from rpd.pipeline.collect_and_select import gather

SECRET = "hf_0123456789abcdef"

BREAKS = """
import os
raise ValueError("no model for " + os.environ["HF_TOKEN"])
"""
NAMES_IT = """
import rpd

@rpd.job(secrets=["HF_TOKEN"])
def fit():
    pass
"""


@pytest.mark.parametrize("named_by", ["another job", "the project"])
def test_errors_at_collection_do_not_repeat_a_secret(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, named_by: str
) -> None:
    """A file that breaks may quote its environment; the rest of the project tells which of it is secret."""
    monkeypatch.setenv("HF_TOKEN", SECRET)
    (tmp_path / "deploy_breaks.py").write_text(BREAKS, encoding="utf-8")
    if named_by == "another job":
        (tmp_path / "deploy_names_it.py").write_text(NAMES_IT, encoding="utf-8")
    defaults = {} if named_by == "another job" else {"secrets": ["HF_TOKEN"]}
    config = config_of(command="collect", rootdir=tmp_path, invocation_dir=tmp_path, job_defaults=defaults)
    [error] = gather(config, make_plugin_manager()).errors
    assert "no model for ***" in error.message
    assert SECRET not in error.message
    assert error.file == "deploy_breaks.py"
