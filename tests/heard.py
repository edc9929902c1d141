"""Events whose notices a test can look at."""

from __future__ import annotations

from rpd.events import NoEvents


class Heard(NoEvents):
    """No plugin listens; notices are kept in ``notices``."""

    def __init__(self, notices: list[str] | None = None) -> None:
        super().__init__()
        self.notices: list[str] = [] if notices is None else notices

    def notice(self, text: str) -> None:
        self.notices.append(text)
