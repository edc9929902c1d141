"""Private images: credentials that do not work are reported before anything is rented, if the registry can be asked."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from rpd.errors import ImpossibleRequest, UsageError
from rpd.lease.registries import stored_id
from rpd.plan import uses_pod
from rpd.values.job import Registry
from rpd.values.node import Node
from rpd.values.pod import Provider

_AT_ONCE = 8


def check_registries(
    nodes: Iterable[Node],
    passwords: Mapping[str, str],
    provider: Callable[[], Provider],
    *,
    emulated: bool,
) -> tuple[str, ...]:
    """Check stored credentials with RunPod, and images that jobs bring credentials for with their registries.

    Return a warning for each registry that cannot be asked; without such jobs no registry is asked. Raise
    UsageError for credentials that do not exist or do not open the image, and for an image that does not
    exist.
    """
    jobs = {id(node.job): node for node in nodes if uses_pod(node) and node.job.registry is not None}
    own: dict[tuple[str, Registry], str] = {}
    for node in jobs.values():
        where, registry = f"{node.definition.location}: Job.registry", node.job.registry
        if isinstance(registry, Registry):
            own.setdefault((node.job.image, registry), where)
        elif registry is not None:
            try:
                stored_id(provider(), registry)
            except ImpossibleRequest as error:
                raise UsageError(f"{where}: {error}") from None
    return _check_images(own, passwords, emulated=emulated) if own else ()


def _check_images(
    own: Mapping[tuple[str, Registry], str], passwords: Mapping[str, str], *, emulated: bool
) -> tuple[str, ...]:
    from concurrent.futures import ThreadPoolExecutor

    from rpd.runpod.catalogue.images import Presence, ask, may_ask  # few jobs have private images

    allowed = [key for key in own if may_ask(key[0], emulated=emulated)]
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        answers = list(pool.map(lambda key: ask(key[0], key[1], passwords), allowed))
    warnings = []
    for (image, registry), answer in zip(allowed, answers, strict=True):
        where = own[image, registry]
        if answer.presence is Presence.UNKNOWN:
            warnings.append(
                f"image {image}: {answer.why}; whether its credentials work shows when a pod pulls it"
            )
        elif answer.presence is not Presence.PRESENT:
            raise UsageError(
                f"{where}: no pod could pull {image}: {answer.why}. Check the name, the tag, the user name and the "
                f"password in {registry.password.name}"
            )
    return tuple(warnings)
