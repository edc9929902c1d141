"""Regular expressions that are compiled when they are first used.

To compile one takes up to half a millisecond; a short command loads three dozen and uses few.
"""

from __future__ import annotations

import re
from typing import Any, AnyStr, cast


class _LatePattern:
    def __init__(self, *given: Any) -> None:
        self._given = given

    def __getattr__(self, name: str) -> Any:
        """Return a member of the compiled pattern, and keep it, so that later uses cost nothing."""
        member = getattr(re.compile(*self._given), name)
        setattr(self, name, member)
        return member


def late_pattern(text: AnyStr, flags: int = 0) -> re.Pattern[AnyStr]:
    """Return what ``re.compile`` returns, for those who call its methods; it is compiled by the first call."""
    return cast("re.Pattern[AnyStr]", _LatePattern(text, flags))
