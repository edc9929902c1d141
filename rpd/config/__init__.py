"""Every setting of one invocation, declared once: flag > environment > file > default."""

from __future__ import annotations

from rpd.config.config import LOADING, Config, config_of, settings, value_of
from rpd.config.setting import Setting

__all__ = ["LOADING", "Config", "Setting", "config_of", "settings", "value_of"]
