"""The account: RunPod as commands outside of a run reach it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

from rpd.cli.json_document import say_document
from rpd.cli.output import note, say
from rpd.config import Config
from rpd.errors import AuthError, ExitCode, UsageError
from rpd.pipeline import connect_to_node
from rpd.pipeline.whole_account import WholeAccount
from rpd.values.endpoint import Endpoint
from rpd.values.frozen import replace


@contextmanager
def account(config: Config, local: Endpoint | None = None) -> Iterator[WholeAccount]:
    """Yield the provider of the user's key, or the emulator at ``local``; its notices go to stderr.

    Raise AuthError, UsageError.
    """
    from rpd.runpod.plugin import make_provider

    provider = WholeAccount(make_provider(config if local is None else replace(config, api=local)))
    provider.notify = lambda text: note(f"rpd: {text}")
    try:
        yield provider
    finally:
        provider.close()


@contextmanager
def own_account(
    config: Config, nothing: Mapping[str, object], *, is_needed: bool = False
) -> Iterator[WholeAccount | None]:
    """Yield the provider of the user's key; without one, the emulator of the newest run if that is local.

    None if that run is over, and its emulator with it: this has been reported then, with ``--json`` by the document
    ``nothing``, whose first key says of what there is none. With ``is_needed`` a run that is over is an error instead:
    something is to be made or deleted.
    Raise AuthError, UsageError.
    """
    newest = None if _has_key() else connect_to_node.newest_local(config.runs_path)
    if newest is not None and newest.end is None and not is_needed:
        _say_over(newest.over, nothing, as_json=config.output.as_json)
        yield None
        return
    with account(config, newest.end if newest else None) as provider:
        yield provider


def code_after(provider: WholeAccount, code: int = ExitCode.OK) -> int:
    """Return the exit code of a command that ends with ``code``: an account that was seen in part only is a failure.

    The kinds that could not be listed are printed to stderr; those that the role of the key hides are no
    failure.
    """
    for kind, error in provider.unseen.items():
        note(f"rpd: {'error: ' if kind in provider.failures else ''}{kind} cannot be listed: {error}")
    return code or (ExitCode.FAILED if provider.failures else ExitCode.OK)


def _say_over(text: str, nothing: Mapping[str, object], *, as_json: bool) -> None:
    note(f"rpd: {text}")
    if as_json:
        say_document(nothing)
    else:
        say(f"no {next(iter(nothing))} (without an API key, RunPod cannot be asked)")


@contextmanager
def provider_of(config: Config, wanted: Sequence[str]) -> Iterator[WholeAccount]:
    """Give the provider of the user's key; without one, the emulator on which the first of the pods ``wanted`` lives.

    Raise RpdError if that was a local run which is over, also if the key's account is found not to know the pods.
    """
    local = None if _has_key() else connect_to_node.local_backend_of(config.runs_path, wanted[0])
    try:
        with account(config, local) as provider:
            yield provider
    except UsageError:
        if local is None and any(connect_to_node.local_backend_of(config.runs_path, each) for each in wanted):
            raise UsageError(
                f"{', '.join(wanted)}: on the emulator of a --local run that is still running; "
                "its pods end with it (Ctrl-C)"
            ) from None
        raise


def _has_key() -> bool:
    from rpd.runpod.key import find_key

    try:
        find_key()
    except AuthError:
        return False
    return True
