"""Releasing a pod: act and read back until it is done, since the answer to the call itself proves nothing."""

from __future__ import annotations

import time
from collections.abc import Callable

from rpd.errors import PodLocked, PodNotFound, ProviderError, ReleaseError
from rpd.values.pod import PodInfo, PodStatus, Provider

TRIES = 8
"""Attempts to release a pod: half a minute, or longer if the calls themselves take time."""
HOPELESS_TRIES = 5
"""Attempts if RunPod gives a reason that waiting will not cure: four seconds."""
LONGEST_PAUSE = 10.0
TOTAL_SECONDS = 120.0
"""Limit for all attempts together, if each call takes as long as it may."""

Look = Callable[[str], PodInfo | None]
"""Returns the pod with an id in a state from now on, None if it is gone. Raises ProviderError."""


def delete(
    provider: Provider,
    pod: PodInfo,
    *,
    tries: int = TRIES,
    sleep: Callable[[float], object] = time.sleep,
    look_back: Look | None = None,
) -> None:
    """Delete ``pod`` and return when RunPod no longer knows it. Raise ReleaseError.

    ``look_back`` reads a pod together with others, after a call to end it succeeded.
    """
    _until(provider, pod, provider.delete, lambda seen: seen is None, tries, sleep, look_back or provider.get)


def stop(
    provider: Provider,
    pod: PodInfo,
    *,
    tries: int = TRIES,
    sleep: Callable[[float], object] = time.sleep,
    look_back: Look | None = None,
) -> None:
    """Stop ``pod`` as ``delete`` deletes it, and return when it no longer runs. Raise ReleaseError."""
    _until(provider, pod, provider.stop, is_stopped, tries, sleep, look_back or provider.get)


def is_stopped(pod: PodInfo | None) -> bool:
    """Return whether a pod in this state holds no GPU any more."""
    return pod is None or pod.status in (PodStatus.EXITED, PodStatus.TERMINATED)


def pause(attempt: int, first: float = 0.25) -> float:
    """Return the seconds to wait after the ``attempt``-th failure (from 0)."""
    return min(first * 2.0**attempt, LONGEST_PAUSE)


def _until(
    provider: Provider,
    pod: PodInfo,
    act: Callable[[str], None],
    is_done: Callable[[PodInfo | None], bool],
    tries: int,
    sleep: Callable[[float], object],
    look_back: Look,
) -> None:
    failure: ProviderError | None = None
    give_up = time.monotonic() + TOTAL_SECONDS
    for attempt in range(tries):
        if attempt and time.monotonic() > give_up:
            break
        if attempt:
            sleep(pause(attempt - 1))
        failure = _try(provider, pod, act, is_done, look_back)
        if failure is None:
            return
        # Only a person can unlock a pod, and a refusal of the account does not pass by itself either.
        if isinstance(failure, PodLocked) or (failure.stops_run and attempt + 1 >= HOPELESS_TRIES):
            break
    raise ReleaseError(pod.id, pod.name, str(failure))


def _try(
    provider: Provider,
    pod: PodInfo,
    act: Callable[[str], None],
    is_done: Callable[[PodInfo | None], bool],
    look: Look,
) -> ProviderError | None:
    """Act once and read back; return None if it is done, else the last error."""
    failure = ProviderError("RunPod still shows it unchanged")
    try:
        act(pod.id)
    except PodNotFound:
        pass  # already gone; the look below confirms it
    except ProviderError as error:
        # The call failed, so read this pod alone: a shared list may be older than the attempt.
        failure, look = error, provider.get
    try:
        seen = look(pod.id)
        if is_done(seen):
            return None
        if seen is not None and seen.locked:
            return PodLocked(
                "it is locked, and RunPod cannot end a locked pod. Unlock it first: in its menu at "
                f'https://console.runpod.io/pods, or with PATCH /v2/pods/{pod.id} {{"locked": false}}'
            )
    except ProviderError as error:
        failure = error
    return failure
