"""The real SDK against the emulator: what every call answers, and how pods live."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from conftest_types import eventually, ssh_endpoint
