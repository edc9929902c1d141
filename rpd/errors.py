"""Every error rpd raises on purpose, and the exit codes they end in.

::

    RpdError
    ├── UsageError                  a wrong flag, file name or setting            exit 4
    │   └── NothingCollected        nothing is left to run                        exit 5
    ├── CollectionError             a deploy file or conftest that cannot be used exit 2
    │   └── DefinitionError         one wrong value in it: field, rule, value got
    ├── ProviderError               an answer of RunPod, translated at its door
    │   ├── AuthError               no key, or a refused one                      exit 4
    │   ├── BalanceError            not enough credit                             stops the run
    │   ├── QuotaError              spend limit or pod quota                      stops the run
    │   ├── ApiRetired              HTTP 410                                      stops the run
    │   ├── NoCapacity              this offer is sold out: try the next
    │   │   └── PoolDenied          ... or not for this account
    │   ├── TransientError          a hiccup: the same call may work later
    │   │   └── RateLimited         HTTP 429, with the seconds to wait
    │   ├── AmbiguousCreate         the answer to a create was lost: a pod may exist
    │   ├── PodNotFound             the pod is not (or no longer) there
    │   ├── PodLocked               somebody locked the pod: it is neither stopped nor deleted
    │   └── RequestRejected         RunPod says the request itself is wrong, or says nothing we know
    │       ├── NotPermitted        the key's role does not allow the call           stops the run
    │       └── ImpossibleRequest   the request contradicts itself or the account; no call is needed
    ├── ProvisioningError           no pod could be had for a node
    │   ├── OutOfStock              every offer refused
    │   ├── PodNotReady             a pod was had, but never became usable
    │   │   ├── KeyRefused          its sshd answers and does not accept the run's key
    │   │   └── ContainerRestarts   its container ends and is started again, over and over
    │   └── UnusableImage           its image cannot be pulled, or never becomes a pod that rpd can work on
    ├── RemoteError                 something on the pod went wrong
    │   ├── CommandFailed           a command ended with another exit code than 0
    │   ├── CommandTimeout          a command outlived its timeout and was ended
    │   ├── OutOfMemory             a command was ended by the OOM killer or CUDA ran out of memory
    │   ├── TransferError           files could not be sent or fetched whole
    │   │   ├── MissingArtifact     a required path is not on the pod
    │   │   ├── TransferBroken      the connection or the pod gave way: another pod may do
    │   │   └── LocalTransferError  ... because of this machine (a LocalError, too)
    │   └── ConnectionLost          SSH is gone and did not come back
    │       └── PodLost             ... because the pod itself is gone
    │           └── PodStopped      ... because somebody released it
    ├── LocalError                  this machine was in the way: a full disk, files that changed or vanished
    ├── JobTimeout                  a job took longer than its mark allows, or hung
    ├── BudgetExceeded              a cap of money or time was reached
    ├── Pruned                      a plugin ended the node by its measurements: no failure
    ├── Interrupted                 Ctrl-C or SIGTERM asked the run to end
    ├── CollectionFailed            a Python call met deploy files that cannot be used: its ``errors``
    ├── NodesFailed                 nodes of a run called from Python did not pass: their ``reports``
    └── ReleaseError                a pod may still bill: id and the command that releases it  exit 6

An error carries its ``cause`` (what a report calls the reason of a non-pass) so that no reader has to search texts. The
cause says whose doing it was. ``code`` is the default, because it rents nothing again: an error is ``infra`` or
``lost`` only where its class says that the platform did it.
"""

from __future__ import annotations

import errno
from collections.abc import Sequence
from enum import IntEnum, StrEnum
from typing import Any, ClassVar


class ExitCode(IntEnum):
    """The exit codes of the ``rpd`` command; 0 to 5 are pytest's.

    ``SOLD_OUT`` is for commands that only look (a live dry run, ``doctor``, ``estimate``): nothing else is wrong.
    """

    OK = 0
    FAILED = 1
    INTERRUPTED = 2
    INTERNAL_ERROR = 3
    USAGE_ERROR = 4
    NOTHING_COLLECTED = 5
    POD_NOT_RELEASED = 6
    SOLD_OUT = 7


class Cause(StrEnum):
    """Why a node did not pass."""

    CODE = "code"
    TIMEOUT = "timeout"
    OOM = "oom"
    BUDGET = "budget"
    STOCK = "stock"
    INFRA = "infra"
    LOST = "lost"
    INTERRUPTED = "interrupted"
    LOCAL = "local"
    """This machine: its disk, or files here that changed or vanished."""
    NEEDS = "needs"
    """Another node that it needs did not pass."""


class RpdError(Exception):
    """Base class of everything rpd raises on purpose; its text is one message for a person."""

    cause: ClassVar[Cause] = Cause.CODE
    exit_code: ClassVar[ExitCode] = ExitCode.FAILED
    stops_run: bool = False
    """Whether no other node could fare better, so that the run starts nothing new."""

    def __reduce__(self) -> tuple[Any, ...]:
        """Survive a copy and a pickle: the arguments of subclasses are not those of Exception."""
        return _revived, (type(self), self.args), self.__dict__


def _revived(kind: type[RpdError], args: tuple[Any, ...]) -> RpdError:
    error = kind.__new__(kind)
    error.args = args
    return error


class UsageError(RpdError):
    """The command line or a configuration file asks for something that does not exist."""

    exit_code = ExitCode.USAGE_ERROR


class NothingCollected(UsageError):
    """No node is left to run."""

    exit_code = ExitCode.NOTHING_COLLECTED


class CollectionError(RpdError):
    """A deploy file or conftest cannot be used. ``file`` is relative to the root folder, ``line`` starts at 1."""

    exit_code = ExitCode.INTERRUPTED

    def __init__(self, message: str, *, file: str = "", line: int = 0) -> None:
        super().__init__(message)
        self.message = message
        self.file = file
        self.line = line

    @property
    def place(self) -> str:
        """``file:line`` as far as known."""
        return f"{self.file}:{self.line}" if self.line else self.file


class DefinitionError(CollectionError):
    """One value in a deploy file breaks a rule; raised by the values themselves, placed by the collector."""

    def __init__(self, owner: str, field: str, rule: str, got: object, *, hint: str = "") -> None:
        text = f"{owner}.{field}: {rule}, got {got!r}" if field else f"{owner}: {rule}, got {got!r}"
        super().__init__(f"{text}. {hint}" if hint else text)
        self.owner = owner
        self.field = field


class ProviderError(RpdError):
    """RunPod refused or failed; the text is scrubbed of the request that was sent."""

    cause = Cause.INFRA


class AuthError(ProviderError):
    """No API key, or RunPod refuses the one given."""

    exit_code = ExitCode.USAGE_ERROR
    stops_run = True


class BalanceError(ProviderError):
    """The account has not enough credit."""

    stops_run = True


class QuotaError(ProviderError):
    """The account's spend limit or pod quota is reached."""

    stops_run = True


class ApiRetired(ProviderError):
    """RunPod answers 410: this face of the API is gone."""

    stops_run = True


class NoCapacity(ProviderError):
    """The offer has no free machine now."""

    cause = Cause.STOCK


class PoolDenied(NoCapacity):
    """The account may not use the machines of this offer; those of others it may."""


class TransientError(ProviderError):
    """A hiccup: the same call may succeed later."""


class RateLimited(TransientError):
    """Too many calls; ``retry_after`` is in seconds, None if RunPod did not say."""

    def __init__(self, message: str, *, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class AmbiguousCreate(ProviderError):
    """The answer to a create was lost: a pod of that name may exist and bill."""


class PodNotFound(ProviderError):
    """RunPod knows no such pod."""


class PodLocked(ProviderError):
    """The pod is locked: it can be neither stopped nor deleted until it is unlocked."""


class RequestRejected(ProviderError):
    """RunPod rejects the request, in words that fit no other class."""


class NotPermitted(RequestRejected):
    """The key is a valid one, but its role or its permissions do not allow the call. ``words`` are RunPod's own."""

    stops_run = True

    def __init__(self, message: str, *, words: str = "") -> None:
        super().__init__(message)
        self.words = words


class BillingDenied(RequestRejected):
    """The key may use the account, but not read its charges."""


class ImpossibleRequest(RequestRejected):
    """No pod can ever come of the request: it contradicts itself, or the state of the account."""

    cause = Cause.CODE


class ProvisioningError(RpdError):
    """No usable pod could be had for a node."""

    cause = Cause.INFRA


class OutOfStock(ProvisioningError):
    """Every offer was refused. ``refusals`` holds one text for each offer."""

    cause = Cause.STOCK

    def __init__(self, message: str, *, refusals: tuple[str, ...] = ()) -> None:
        super().__init__(message)
        self.refusals = refusals


class PodNotReady(ProvisioningError):
    """The pod exists but never ran a command over SSH within its deadline."""


class KeyRefused(PodNotReady):
    """The pod's sshd answers, but does not accept the run's key: no image with RunPod's start script does that."""


class ContainerRestarts(PodNotReady):
    """The pod's container exits and is restarted, over and over."""


class NoSshServer(PodNotReady):
    """The image has no SSH server, and rpd could not bring one: the container's own log says why."""


class UnusableImage(ProvisioningError):
    """No pod comes up from this image anywhere, so no more are rented for it."""

    cause = Cause.CODE


class RemoteError(RpdError):
    """Something on the pod went wrong."""


_SIGNALS = {
    128 + 4: "illegal instruction",
    128 + 6: "aborted",
    128 + 7: "bus error",
    128 + 8: "arithmetic error",
    128 + 9: "killed",
    128 + 11: "segmentation fault",
    128 + 15: "terminated",
}
"""What a shell's exit code says of a program that a signal ended, with Linux's numbers."""


def code_in_words(exit_code: int) -> str:
    """Return an exit code, with the signal that it stands for."""
    signal = _SIGNALS.get(exit_code)
    return f"{exit_code} ({signal})" if signal else f"{exit_code}"


class CommandFailed(RemoteError):
    """A command on the pod ended with an exit code other than 0.

    ``command`` is the whole command, ``name`` its short form for the message (default: the whole).
    """

    def __init__(self, command: str, exit_code: int, *, tail: tuple[str, ...] = (), name: str = "") -> None:
        code = code_in_words(exit_code)
        if self.cause is not Cause.OOM:
            code = code.replace("(killed)", "(killed, perhaps out of memory)")
        super().__init__(f"command exited {code}: {name or command}")
        self.command = command
        self.code = exit_code
        self.tail = tail


class CommandTimeout(RemoteError):
    """A command on the pod ran longer than it may (seconds) and was ended; ``name`` as in CommandFailed."""

    cause = Cause.TIMEOUT

    def __init__(self, command: str, seconds: float, *, name: str = "") -> None:
        super().__init__(f"command exceeded its timeout of {seconds:g} s: {name or command}")
        self.command = command
        self.seconds = seconds


class OutOfMemory(CommandFailed):
    """A command was ended by the kernel's OOM killer, or CUDA ran out of memory."""

    cause = Cause.OOM


class TransferError(RemoteError):
    """Files could not be sent or fetched whole and unchanged, for a reason that another pod would not mend."""


class MissingArtifact(TransferError):
    """A required path does not exist on the pod."""


class TransferBroken(TransferError):
    """A transfer broke off because the connection or the pod gave way; it may succeed on another pod."""

    cause = Cause.INFRA


class ConnectionLost(RemoteError):
    """SSH to the pod is gone and did not come back in time."""

    cause = Cause.INFRA


class PodLost(ConnectionLost):
    """The pod itself is gone: RunPod no longer runs it."""

    cause = Cause.LOST


class PodStopped(PodLost):
    """Somebody released the pod of a run that goes on, by ``rpd stop`` or in RunPod's console."""

    cause = Cause.INTERRUPTED


_NO_ROOM = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EROFS})


def is_out_of_room(error: BaseException | None) -> bool:
    """Return whether a local disk takes nothing more according to ``error``: full, over its quota or read-only."""
    return isinstance(error, OSError) and error.errno in _NO_ROOM


_USED_UP = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOMEM})
_NO_THREAD = "can't start new thread"
"""All that Python says of it, in a plain RuntimeError."""


def is_used_up(error: BaseException | None) -> bool:
    """Return whether this machine has no more memory, open files or threads for this process."""
    if isinstance(error, OSError):
        return error.errno in _USED_UP
    return isinstance(error, MemoryError) or (type(error) is RuntimeError and str(error) == _NO_THREAD)


class LocalError(RpdError):
    """Something on this machine was in the way, neither the pod nor RunPod nor the job.

    ``why`` is the system's error. If the disk is full, no other node would do better.
    """

    cause = Cause.LOCAL

    def __init__(self, message: str, why: OSError | None = None) -> None:
        full = is_out_of_room(why)
        text = f"{message}: {why.strerror or why}" if why is not None else message
        super().__init__(f"{text}. Make room on this machine's disk, then run it again" if full else text)
        self.stops_run = full


class LocalTransferError(LocalError, TransferError):
    """Files could not be sent or fetched because of this machine: its disk, or files here that changed or vanished."""


class BudgetExceeded(RpdError):
    """A cap of money or of time was reached."""

    cause = Cause.BUDGET


class Pruned(RpdError):
    """A plugin ended the node because of its metrics (hook ``rpd_prune``), for the reason in the message."""


class JobTimeout(RpdError):
    """A job took longer than its mark ``timeout`` allows, or showed no sign of life for so long."""

    cause = Cause.TIMEOUT


class Interrupted(RpdError):
    """Ctrl-C, SIGTERM or SIGHUP asked the run to end."""

    cause = Cause.INTERRUPTED
    exit_code = ExitCode.INTERRUPTED
    stops_run = True


class CollectionFailed(RpdError):
    """Deploy files cannot be used; ``errors`` holds a CollectionError for each."""

    exit_code = ExitCode.INTERRUPTED

    def __init__(self, errors: tuple[CollectionError, ...]) -> None:
        self.errors = tuple(errors)
        super().__init__(
            "\n".join(f"{error.place}: {error}" if error.file else str(error) for error in errors)
        )


class NodesFailed(RpdError):
    """Nodes of a run did not pass, or did not run; ``reports`` are the NodeReports of those that did not pass."""

    def __init__(self, message: str, reports: Sequence[Any] = ()) -> None:
        super().__init__(message)
        self.reports: tuple[Any, ...] = tuple(reports)


class ReleaseError(RpdError):
    """A pod could not be confirmed as released and may still bill.

    ``known_as`` is its id, else its name; ``why`` is the reason alone, for those who tell the rest themselves.
    """

    cause = Cause.INFRA
    exit_code = ExitCode.POD_NOT_RELEASED
    stops_run = True

    def __init__(self, pod_id: str, pod_name: str, why: str) -> None:
        self.known_as = known = pod_id or pod_name
        end = "" if why.endswith((".", "!", "?")) else "."
        super().__init__(f"pod {known} may still bill: {why}{end} Release it with: rpd stop {known}")
        self.pod_id = pod_id
        self.pod_name = pod_name
        self.why = why
