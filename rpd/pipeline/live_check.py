"""The outlook of a live dry run: RunPod's present offers for the requests of nodes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor

from rpd.errors import BalanceError, ImpossibleRequest
from rpd.events import Events
from rpd.pipeline.worst_case import Prices, check_balance
from rpd.plan import uses_pod
from rpd.runpod.catalogue.images import WHAT_TO_DO, Answer, ask
from rpd.runpod.catalogue.model import IN_STOCK
from rpd.runpod.catalogue.offers import can_be_rented, find_volume, is_sold_out
from rpd.values.dryrun import Outlook
from rpd.values.frozen import replace
from rpd.values.job import Gpu, Registry
from rpd.values.node import Node
from rpd.values.pod import Account, Offer, PodRequest, Provider, renter_of

_LOOKED_UP_AT_ONCE = 8
_Image = tuple[str, Registry | str | None]
"""An image, and whose credentials open it."""


class Outlooks:
    """Asks RunPod and the registries of the images, once per kind of pod, and only reads.

    The account is read at once, so that a wrong key, or an API that does not answer, is reported before
    anything else; the rest by ``look``, before any code of a job runs. Notices cover whatever concerns the
    whole run. ``passwords`` are the values of secrets that are known here. Raise AuthError, ProviderError.
    """

    def __init__(
        self,
        provider: Callable[[], Provider],
        prices: Prices,
        events: Events,
        passwords: Mapping[str, str],
    ) -> None:
        self._passwords = passwords
        self._provider = provider
        self._prices = prices
        self._events = events
        self._account = provider().account()
        self._outlooks: dict[PodRequest, Outlook] = {}

    def look(self, nodes: Iterable[Node], worst_case_usd: float) -> None:
        """Ask all there is to ask for ``nodes``. Raise ProviderError if RunPod does not answer."""
        requests = list(dict.fromkeys(map(self._prices.request, filter(uses_pod, nodes))))
        offers = [tuple(renter_of(self._provider(), request).offers(request)) for request in requests]
        images = self._images(requests)
        self._tell_balance(self._account, worst_case_usd)
        for request, within in zip(requests, offers, strict=True):
            self._outlooks[request] = self._outlook(request, within, images[_image_of(request)])

    def of(self, request: PodRequest) -> Outlook:
        """Return the outlook of a request; one that could not be foreseen is asked about now.

        Raise ProviderError if RunPod does not answer.
        """
        if request not in self._outlooks:
            within = tuple(renter_of(self._provider(), request).offers(request))
            self._outlooks[request] = self._outlook(
                request, within, self._images([request])[_image_of(request)]
            )
        return self._outlooks[request]

    def _outlook(self, request: PodRequest, offers: Sequence[Offer], image: str) -> Outlook:
        facts = (
            _what_is_in_stock(offers),
            *self._dearer(request, offers),
            *self._volume(request),
            image,
        )
        return Outlook(can_be_rented=can_be_rented(offers), facts=facts, is_sold_out=is_sold_out(offers))

    def _tell_balance(self, account: Account, worst_case_usd: float) -> None:
        """Tell whether the credit would do; too little of it is no reason not to look."""
        if account.balance_usd is None:
            self._events.notice("RunPod does not report the account's credit here")
            return
        try:
            warning = check_balance(account, worst_case_usd)
        except BalanceError as error:
            warning = str(error)
        enough = (
            f"the account has ${account.balance_usd:.2f}, this run may cost at most ${worst_case_usd:.2f}"
        )
        self._events.notice(warning or enough)

    def _images(self, requests: Iterable[PodRequest]) -> dict[_Image, str]:
        """Return image -> the answer of its registry; a notice names at once those that hosts could not pull."""
        images = list(dict.fromkeys(map(_image_of, requests)))
        with ThreadPoolExecutor(_LOOKED_UP_AT_ONCE) as pool:
            answers = dict(zip(images, pool.map(self._asked, images), strict=True))
        for (image, _), answer in answers.items():
            if advice := WHAT_TO_DO[answer.presence]:
                self._events.notice(f"image {image}: {answer.why}; {advice}")
        return {image: f"image: {answer.why}" for image, answer in answers.items()}

    def _asked(self, image: _Image) -> Answer:
        return ask(*image, self._passwords)

    def _dearer(self, request: PodRequest, within: Sequence[Offer]) -> Iterator[str]:
        """Yield the offers left out because they exceed the price limit."""
        gpu = request.gpu
        if gpu is None or gpu.max_price_usd is None:
            return
        free = Gpu(*gpu.ids, count=gpu.count, min_vram_gb=gpu.min_vram_gb, prefer=gpu.prefer)
        prices: dict[str, str] = {}
        for offer in renter_of(self._provider(), request).offers(replace(request, gpu=free)):
            if offer not in within:
                price = "price unknown" if offer.usd_per_hr is None else f"${offer.usd_per_hr:.2f}/h"
                prices.setdefault(f"{offer.gpu_id} ({offer.cloud})", price)
        if prices:
            kinds = ", ".join(f"{what} {price}" for what, price in prices.items())
            yield f"left out, above ${gpu.max_price_usd:.2f}/h: {kinds}"

    def _volume(self, request: PodRequest) -> Iterator[str]:
        """Yield where the network volume is."""
        volume_name = request.storage.network_volume
        if volume_name is None or (volumes := self._provider().volumes()) is None:
            return
        try:
            volume = find_volume(volume_name, volumes)
        except ImpossibleRequest as error:
            yield str(error)
        else:
            yield f"network volume: {volume.name or volume.id} is in {volume.datacenter}, {volume.size_gb} GB"


def _image_of(request: PodRequest) -> _Image:
    return request.image, request.registry


def _what_is_in_stock(offers: Sequence[Offer]) -> str:
    match can_be_rented(offers):
        case True:
            first = next(offer for offer in offers if offer.stock in IN_STOCK)
            price = "" if first.usd_per_hr is None else f" at ${first.usd_per_hr:.2f}/h"
            return f"in stock: {first}{price}"
        case False:
            return "sold out: none of it is in stock now" if offers else "RunPod offers nothing that fits"
        case _:
            rest = "RunPod does not report the stock of CPU pods and of Community Cloud"
            sold_out = any(offer.stock == "none" for offer in offers)
            return f"sold out in Secure Cloud; {rest}" if sold_out else f"stock unknown: {rest}"
