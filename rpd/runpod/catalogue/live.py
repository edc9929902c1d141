"""The live catalogue: prices and stock from REST v2, else GraphQL, else as shipped; read as rarely as possible."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from rpd.errors import ApiRetired, AuthError, ProviderError, TransientError
from rpd.runpod.catalogue.cache import CatalogueStore
from rpd.runpod.catalogue.model import Catalogue, shipped_catalogue
from rpd.runpod.notices import Notices
from rpd.runpod.rate_limit import Retry
from rpd.runpod.response import understood
from rpd.runpod.rest import catalogue
from rpd.runpod.rest.client import Rest
from rpd.values.frozen import frozen, replace
from rpd.values.pod import PodRequest


@frozen(kw_only=False)
class Question:
    """A question about the catalogue: GPU types for ``count`` per pod with these CUDA versions, or CPU flavours.

    ``spot``: with the prices of spot pods, which only GraphQL has. ``min_cuda``: from that version on.
    ``cluster``: with the stock for clusters.
    """

    count: int = 1
    cuda: tuple[str, ...] = ()
    min_cuda: str | None = None
    spot: bool = False
    cpu: bool = False
    cluster: bool = False

    @classmethod
    def of(cls, request: PodRequest) -> Question:
        """Return the question whose answer contains the candidates for ``request``."""
        if request.gpu is None:
            return CPUS
        return cls(count=request.gpu.count, cuda=request.cuda, min_cuda=request.min_cuda, spot=request.spot)


CPUS = Question(count=0, cpu=True)


class LiveCatalogue:
    """Answers questions about prices and stock; may be asked from several threads.

    ``graphql`` reads the catalogue for a count over GraphQL, if that is available; without it REST v2 is
    retried according to ``retry``. ``seconds``: how long an answer is reused in this process; the first one
    may come from ``store``. With ``strict``, shipped prices never replace ones that could not be read: that
    is an error.
    """

    def __init__(
        self,
        rest: Rest,
        *,
        notices: Notices,
        store: CatalogueStore,
        graphql: Callable[[int], Catalogue] | None = None,
        retry: Retry | None = None,
        seconds: float = 60.0,
        strict: bool = False,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._rest = rest
        self._graphql = graphql
        self._retry = retry or Retry()
        self._notices = notices
        self._store = store
        self._seconds = seconds
        self._strict = strict
        self._clock = clock
        self._lock = threading.Lock()
        self._known: dict[Question, tuple[float, Catalogue]] = {}
        self._without_rest = False
        """Whether this API turned out not to offer REST v2."""

    def ask(self, question: Question) -> Catalogue:
        """Return RunPod's catalogue, else (with a notice) the shipped one. Raise AuthError, ApiRetired.

        If strict, raise any ProviderError.
        """
        with self._lock:
            if question not in self._known:
                catalogue_now = self._store.read(repr(question)) or self._fresh(question)
            elif self._clock() - self._known[question][0] > self._seconds:
                catalogue_now = self._fresh(question)
            else:
                return self._known[question][1]
            self._known[question] = (self._clock(), catalogue_now)
            return catalogue_now

    def _fresh(self, question: Question) -> Catalogue:
        try:
            fresh = self._asked(question)
        except (AuthError, ApiRetired):
            raise
        except ProviderError as error:
            if self._strict:
                raise
            self._notices.once(
                f"could not read prices and stock, so rpd uses the prices shipped with it: {error}"
            )
            return shipped_catalogue()
        self._store.write(repr(question), fresh)
        return fresh

    def _asked(self, question: Question) -> Catalogue:
        """Return the catalogue of REST v2, or else of GraphQL."""
        if self._graphql is None:
            return self._retry.call(lambda: self._read(question))
        if question.cpu:
            return self._cpus(question)
        if not question.spot and not self._without_rest:
            try:
                return self._read(question)
            except TransientError:
                pass
            except ProviderError:
                # A server that has only GraphQL is not asked for REST again.
                self._without_rest = True
        return self._graphql(question.count)

    def _cpus(self, question: Question) -> Catalogue:
        """Return the CPU prices of REST v2, or else those rpd ships with: they hardly change."""
        if self._strict:
            return self._retry.call(lambda: self._read(question))
        try:
            return self._read(question)
        except ProviderError:
            return shipped_catalogue()

    def _read(self, question: Question) -> Catalogue:
        if question.cpu:
            prices = understood(catalogue.read_cpus, self._rest.get(catalogue.CPUS))
            return replace(shipped_catalogue(), cpu_usd_per_vcpu_hr=prices)
        params = catalogue.gpu_params(
            question.count, question.cuda, question.min_cuda, cluster=question.cluster
        )
        is_limited = bool(question.cuda or question.min_cuda)
        return understood(
            lambda document: catalogue.read_gpus(document, is_limited=is_limited),
            self._rest.get(catalogue.GPUS, params),
        )
