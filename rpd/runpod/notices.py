"""Notices: sentences of a provider for the user, some of them only once."""

from __future__ import annotations

from collections.abc import Callable

from rpd.runpod.address import api_name, key_url
from rpd.values.pod import Provider

_NOTEWORTHY_HOLD = 3.0


def _unheard(text: str) -> None:
    """Drop a notice without a listener."""


class Notices:
    """Passes sentences on to ``notify``, on the thread of any call; it may be set later."""

    def __init__(self, notify: Callable[[str], None] = _unheard) -> None:
        self.notify = notify
        self._said: set[str] = set()

    def once(self, text: str) -> None:
        """Pass ``text`` on, but only the first time."""
        if text not in self._said:
            self._said.add(text)
            self.notify(text)

    def hold(self, seconds: float) -> None:
        """Announce that all calls wait, if the wait is long enough to be noticed."""
        if seconds >= _NOTEWORTHY_HOLD:
            self.notify(
                f"RunPod limits the rate of calls: rpd makes none for {seconds:.0f} s, as RunPod asks"
            )


class Speaker(Provider):
    """A provider that is named after its address, and shares its notices with others.

    ``url`` is the address of its calls, by default the present one in the environment: a job may change that
    before the first call, and a pod has to be released where it was rented. Raise UsageError if the key must
    not be sent there.
    """

    def __init__(
        self, notices: Notices, notify: Callable[[str], None] | None = None, url: str | None = None
    ) -> None:
        self._at = url or key_url()
        self._notices = notices
        if notify is not None:
            self.notify = notify

    @property
    def name(self) -> str:
        """``RunPod``, or the address that calls go to instead."""
        return api_name(self._at)

    @property
    def notify(self) -> Callable[[str], None]:
        """Called with each sentence for the user."""
        return self._notices.notify

    @notify.setter
    def notify(self, hear: Callable[[str], None]) -> None:
        self._notices.notify = hear
