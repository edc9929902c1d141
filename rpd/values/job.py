"""The request of a job: Job and the values it is made of, each checked on creation.

A wrong value raises DefinitionError with the field, the rule and the value got; the collector adds file and
line.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextvars import ContextVar
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Literal, TypeVar, cast, overload

from rpd.errors import DefinitionError
from rpd.values.duration import parse_duration
from rpd.values.frozen import EMPTY, FrozenDict, field_names, frozen, replace
from rpd.values.number_bounds import MOST_GB, MOST_GPUS, MOST_NODES, MOST_USD, check_number, check_whole
from rpd.values.suggestions import closest

if TYPE_CHECKING:
    from typing import TypeAlias, TypedDict, Unpack

    ReleaseName: TypeAlias = Literal["delete", "stop", "preserve", "recycle"]
    CloudName: TypeAlias = Literal["secure", "community", "any"]
    SshName: TypeAlias = Literal["auto", "image", "install"]
    TierName: TypeAlias = Literal["standard", "high_performance"]
    ClusterName: TypeAlias = Literal["application", "training", "slurm", "ray"]

    class JobFields(TypedDict, total=False):
        """The fields of ``job(…)`` as a deploy file may write them; Job stores each as one type."""

        image: str
        gpu: Gpu | None
        cluster: Cluster | None
        storage: Storage
        mount: str
        datacenters: str | Iterable[str]
        cloud: CloudChoice | CloudName
        spot: bool
        container_disk_gb: int
        cpu: str | Iterable[str]
        min_vcpu: int | None
        min_memory_gb: int | None
        cuda: str | Iterable[str]
        min_cuda: str | None
        countries: str | Iterable[str]
        compliance: str | Iterable[str]
        global_network: bool
        ports: str | Iterable[str]
        env: Mapping[str, str]
        secrets: str | Secret | Iterable[str | Secret]
        required_paths: str | Iterable[str]
        docker_args: str | None
        registry: str | Registry | None
        ssh: SshSource | SshName
        template_id: str | None
        budget: Budget
        lifecycle: Lifecycle
        metrics: str | Iterable[str]


F = TypeVar("F", bound=Callable[..., Any])

JOB_ATTRIBUTE = "__rpd_job__"
EARLIER_JOB_ATTRIBUTE = "__rpd_earlier_job__"
"""Of a function that got a second job: the one it had."""
DEFAULT_DISK_GB = 20
DEFAULT_IMAGE = "runpod/pytorch:1.0.2-cu1281-torch280-ubuntu2404"

_extra_gpu_ids: ContextVar[frozenset[str]] = ContextVar("rpd_extra_gpu_ids", default=frozenset())
"""Of the project at work in this context, as its job defaults are: runs of two projects may go on at once."""


def allow_gpu_ids(ids: Iterable[str]) -> None:
    """Accept these GPU ids besides the shipped ones (setting ``extra_gpu_ids``), in this context."""
    _extra_gpu_ids.set(frozenset(ids))


_job_defaults: ContextVar[Mapping[str, Any]] = ContextVar("rpd_job_defaults", default=EMPTY)


def use_job_defaults(defaults: Mapping[str, Any]) -> None:
    """Let ``rpd.job(…)`` start from these fields (table ``[tool.rpd.job]``), in this context. Raise DefinitionError.

    A deploy file's ``Gpu(…)``, ``Storage(…)``, ``Budget(…)`` or ``Lifecycle(…)`` is a table with the same
    fields there; ``gpu`` may also be an id or a list of ids.
    """
    check_job_fields(defaults)
    made = {name: _from_table(name, value) for name, value in defaults.items()}
    Job(**made)
    _job_defaults.set(made)


def _from_table(name: str, value: Any) -> Any:
    """Return the value that a field of a job has in a configuration file."""
    if name == "gpu":
        if isinstance(value, Mapping):
            _check_fields("Gpu", value, ("ids", "count", "min_vram_gb", "max_price_usd", "prefer"))
            return Gpu(**value)
        return Gpu(*_texts("Job", "gpu", value))
    if name == "registry" and isinstance(value, Mapping):
        _check_fields("Registry", value, field_names(Registry))
        password = value.get("password")
        return Registry(
            username=cast("str", value.get("username")),
            password=Secret(password) if isinstance(password, str) else cast("Any", password),
        )
    if name == "cluster" and isinstance(value, int) and not isinstance(value, bool):
        return Cluster(nodes=value)
    kind = _TABLES.get(name)
    if kind is None or not isinstance(value, Mapping):
        return value
    _check_fields(kind.__name__, value, field_names(kind))
    return kind(**value)


class Release(StrEnum):
    """How a pod is given back when its node is over."""

    DELETE = "delete"
    STOP = "stop"
    PRESERVE = "preserve"
    RECYCLE = "recycle"


class CloudChoice(StrEnum):
    """Which of RunPod's clouds may serve a request."""

    SECURE = "secure"
    COMMUNITY = "community"
    ANY = "any"

    @classmethod
    def _missing_(cls, value: object) -> CloudChoice | None:
        """Take the names in RunPod's own spelling too: upper case, ``ALL`` for both."""
        name = value.lower() if isinstance(value, str) else ""
        return cls.ANY if name == "all" else next((cloud for cloud in cls if cloud.value == name), None)


class Tier(StrEnum):
    """How fast a network volume is; it is chosen when the volume is made."""

    STANDARD = "standard"
    HIGH_PERFORMANCE = "high_performance"

    @classmethod
    def _missing_(cls, value: object) -> Tier | None:
        """Take RunPod's own spelling, and that of the command line."""
        name = value.lower().replace("-", "_") if isinstance(value, str) else ""
        return next((tier for tier in cls if tier.value == name), None)


class ClusterType(StrEnum):
    """The software that RunPod sets up on the members of a cluster: none (the first two), Slurm, or Ray."""

    APPLICATION = "application"
    TRAINING = "training"
    SLURM = "slurm"
    RAY = "ray"


class SshSource(StrEnum):
    """Who starts the SSH server of a pod: the image, rpd, or whichever of the two is known to work (``auto``)."""

    AUTO = "auto"
    IMAGE = "image"
    INSTALL = "install"


def _fail(owner: str, name: str, rule: str, got: object, hint: str = "") -> DefinitionError:
    return DefinitionError(owner, name, rule, got, hint=hint)


def _number(owner: str, name: str, value: object, *, most: float) -> None:
    """Raise DefinitionError unless ``value`` is a number above 0."""
    try:
        check_number(value, least=0, most=most, above=True)
    except ValueError as error:
        raise _fail(owner, name, str(error), value) from None


def _whole(owner: str, name: str, value: object, *, minimum: int, most: int) -> None:
    try:
        check_whole(value, least=minimum, most=most)
    except ValueError as error:
        raise _fail(owner, name, str(error), value) from None


def _duration(owner: str, name: str, value: Any) -> None:
    try:
        parse_duration(value)
    except ValueError as error:
        raise _fail(owner, name, str(error), value) from None


def _texts(owner: str, name: str, value: object) -> tuple[str, ...]:
    """Return ``value`` as a tuple of non-empty strings; a lone string is a usual slip and means one entry."""
    items: object = (value,) if isinstance(value, str) else value
    texts = tuple(items) if isinstance(items, Iterable) else (None,)
    if not all(isinstance(item, str) and item for item in texts):
        raise _fail(owner, name, "expected a sequence of non-empty strings", value)
    return cast("tuple[str, ...]", texts)


def _choice(owner: str, name: str, kind: type[StrEnum], value: object) -> Any:
    try:
        return kind(cast("str", value))
    except ValueError:
        raise _fail(owner, name, f"expected one of {', '.join(kind)}", value) from None


@frozen
class Gpu:
    """A GPU: exact ids in order of preference, or a capability (``min_vram_gb``).

    ``count`` is per pod, ``min_vram_gb`` per GPU, ``max_price_usd`` per pod and hour. ``prefer="cheapest"``
    orders by price instead of by the list, ``prefer="place"`` by the job's data centres: every GPU of the
    list in the first one, then every GPU in the next. Raise DefinitionError for an id unknown to RunPod, with
    the closest ones.
    """

    ids: tuple[str, ...]
    count: int
    min_vram_gb: int | None
    max_price_usd: float | None
    prefer: Literal["listed", "cheapest", "place"]

    def __init__(
        self,
        *listed: str,
        ids: Iterable[str] = (),
        count: int = 1,
        min_vram_gb: int | None = None,
        max_price_usd: float | None = None,
        prefer: Literal["listed", "cheapest", "place"] = "listed",
    ) -> None:
        # By name, too: ``dataclasses.replace`` and a configuration file name every field.
        if listed and ids:
            raise _fail("Gpu", "ids", "expected the ids by position or by name, not both", ids)
        ids = listed or _texts("Gpu", "ids", ids)
        for gpu_id in ids:
            _check_gpu_id(gpu_id)
        if not ids and min_vram_gb is None:
            raise _fail("Gpu", "ids", "expected at least one GPU id, or min_vram_gb", ids)
        _whole("Gpu", "count", count, minimum=1, most=MOST_GPUS)
        if min_vram_gb is not None:
            _number("Gpu", "min_vram_gb", min_vram_gb, most=MOST_GB)
        if max_price_usd is not None:
            _number("Gpu", "max_price_usd", max_price_usd, most=MOST_USD)
        if prefer not in ("listed", "cheapest", "place"):
            raise _fail("Gpu", "prefer", "expected one of listed, cheapest, place", prefer)
        for name, value in (
            ("ids", ids),
            ("count", count),
            ("min_vram_gb", min_vram_gb),
            ("max_price_usd", max_price_usd),
            ("prefer", prefer),
        ):
            object.__setattr__(self, name, value)

    def __str__(self) -> str:
        what = " | ".join(self.ids) or f">= {self.min_vram_gb} GB"
        return f"{self.count}x {what}" if self.count > 1 else what


def _check_gpu_id(gpu_id: object) -> None:
    if not isinstance(gpu_id, str):
        raise _fail("Gpu", "ids", "expected RunPod GPU ids (strings)", gpu_id)
    from rpd.values.gpus import KNOWN_GPU_TYPES, closest_gpu_ids  # a table that CPU jobs can do without

    if gpu_id in KNOWN_GPU_TYPES or gpu_id in _extra_gpu_ids.get():
        return
    close = closest_gpu_ids(gpu_id)
    meant = f"Did you mean {' or '.join(map(repr, close))}?" if close else "See `rpd gpus`"
    raise _fail(
        "Gpu",
        "ids",
        "expected an id RunPod knows",
        gpu_id,
        f"{meant} (if it is new, add it to extra_gpu_ids)",
    )


@frozen
class Storage:
    """Disk that outlives the container: a volume of the pod (``volume_gb``) or a network volume by name or id.

    ``tier`` is the required tier of the network volume, ``standard`` or ``high_performance``; None accepts
    either.
    """

    volume_gb: int | None = None
    network_volume: str | None = None
    tier: Tier | None = None

    if TYPE_CHECKING:

        def __init__(
            self,
            *,
            volume_gb: int | None = ...,
            network_volume: str | None = ...,
            tier: Tier | TierName | None = ...,
        ) -> None: ...

    def __post_init__(self) -> None:
        if self.tier is not None:
            object.__setattr__(self, "tier", _choice("Storage", "tier", Tier, self.tier))
            if self.network_volume is None:
                raise _fail(
                    "Storage", "tier", "expected network_volume with it: others have no tier", self.tier
                )
        if self.volume_gb is not None:
            _whole("Storage", "volume_gb", self.volume_gb, minimum=0, most=MOST_GB)
        if self.network_volume is not None and (
            not isinstance(self.network_volume, str) or not self.network_volume
        ):
            raise _fail(
                "Storage", "network_volume", "expected the name of a network volume", self.network_volume
            )
        if self.volume_gb and self.network_volume:
            raise _fail("Storage", "", "a pod has volume_gb or a network_volume, not both", self)


@frozen
class Cluster:
    """So many pods at once, in one private network: one of RunPod's Instant Clusters.

    ``gpu`` and ``image`` of the job are those of each member. ``preflight=False`` leaves out the check that every
    member reaches every other.
    """

    nodes: int
    type: ClusterType = ClusterType.TRAINING
    preflight: bool = True

    if TYPE_CHECKING:

        def __init__(
            self,
            nodes: int,
            *,
            type: ClusterType | ClusterName = ...,  # noqa: A002 - as RunPod calls it
            preflight: bool = ...,
        ) -> None: ...

    def __post_init__(self) -> None:
        _whole("Cluster", "nodes", self.nodes, minimum=2, most=MOST_NODES)
        object.__setattr__(self, "type", _choice("Cluster", "type", ClusterType, self.type))
        if not isinstance(self.preflight, bool):
            raise _fail("Cluster", "preflight", "expected True or False", self.preflight)

    def __str__(self) -> str:
        return f"{self.nodes} nodes"


@frozen
class Budget:
    """Limits of one node: ``cost_cap_usd`` in dollars, the others durations (``"60m"`` or seconds)."""

    cost_cap_usd: float = 10.0
    max_runtime: str | float | None = None
    ssh_ready_timeout: str | float = "15m"

    def __post_init__(self) -> None:
        _number("Budget", "cost_cap_usd", self.cost_cap_usd, most=MOST_USD)
        if self.max_runtime is not None:
            _duration("Budget", "max_runtime", self.max_runtime)
        _duration("Budget", "ssh_ready_timeout", self.ssh_ready_timeout)

    @property
    def max_runtime_seconds(self) -> float | None:
        """``max_runtime`` in seconds."""
        return None if self.max_runtime is None else parse_duration(self.max_runtime)

    @property
    def ssh_ready_seconds(self) -> float:
        """``ssh_ready_timeout`` in seconds."""
        return parse_duration(self.ssh_ready_timeout)


@frozen
class Lifecycle:
    """How the pod is given back after the node, by outcome: ``delete``, ``stop``, ``preserve`` or ``recycle``.

    A pod on which a node failed is never recycled: it may be why the node failed.
    """

    on_success: Release = Release.DELETE
    on_failure: Release = Release.DELETE

    if TYPE_CHECKING:

        def __init__(
            self, *, on_success: Release | ReleaseName = ..., on_failure: Release | ReleaseName = ...
        ) -> None: ...

    def __post_init__(self) -> None:
        for name in ("on_success", "on_failure"):
            object.__setattr__(self, name, _choice("Lifecycle", name, Release, getattr(self, name)))
        if self.on_failure is Release.RECYCLE:
            raise _fail(
                "Lifecycle",
                "on_failure",
                "expected delete, stop or preserve",
                str(self.on_failure),
                "The next node would run on the pod that may have made this one fail; to look into it, use stop or "
                "preserve",
            )


_ENVIRONMENT_NAME = r"[A-Za-z_][A-Za-z0-9_]*"


@frozen(kw_only=False)
class Secret:
    """A value the commands of a job get as environment variable ``name``; it is read here and travels over SSH only.

    It comes from the environment variable ``env`` (default: ``name``) or from the file ``file``. With ``to`` it becomes
    that file on the pod (absolute path, permissions ``mode``) instead of a variable, byte for byte; rpd removes it when
    the pod is given back.
    """

    name: str
    env: str | None = None
    file: str | None = None
    to: str | None = None
    mode: int = 0o600

    def __post_init__(self) -> None:
        if not isinstance(self.name, str) or not re.fullmatch(_ENVIRONMENT_NAME, self.name):
            raise _fail("Secret", "name", "expected the name of an environment variable", self.name)
        if self.env and self.file:
            raise _fail("Secret", "", "a secret comes from env or from file, not both", self)
        if self.to is not None and not _is_path_of_file(self.to):
            raise _fail("Secret", "to", "expected the absolute path of a file on the pod", self.to)
        if not isinstance(self.mode, int) or isinstance(self.mode, bool) or not 0 <= self.mode <= 0o777:
            hint = "Octal numbers begin with 0o in Python: mode=0o600"
            raise _fail("Secret", "mode", "expected permissions such as 0o600", self.mode, hint)


def _is_path_of_file(path: object) -> bool:
    return (
        isinstance(path, str)
        and path.startswith("/")
        and not path.endswith(("/", "/.", "/.."))
        and "\0" not in path
    )


@frozen
class Registry:
    """The credentials of a private image's registry: RunPod holds them for as long as the run needs them.

    ``password`` is read here, as every secret; commands on the pod do not get it.
    """

    username: str
    password: Secret

    if TYPE_CHECKING:

        def __init__(self, *, username: str, password: Secret) -> None: ...

    def __post_init__(self) -> None:
        if not isinstance(self.username, str) or not self.username.strip():
            raise _fail("Registry", "username", "expected the name of a user of the registry", self.username)
        if not isinstance(self.password, Secret):
            # Whatever it is, it may be the password.
            got = type(self.password).__name__
            hint = 'Write Secret("NAME") for the environment variable that holds it'
            raise _fail("Registry", "password", "expected a Secret(…)", got, hint)
        if self.password.to is not None:
            raise _fail(
                "Registry",
                "password",
                "expected a secret without to=: it is not written to a file",
                self.password,
            )


_PORT = r"[0-9]{1,5}/(?:tcp|http)"
_LAST_PORT = 65_535
_RESERVED_ENVIRONMENT = ("RUNPOD_API_KEY", "PUBLIC_KEY", "RUNPOD_POD_ID")


@frozen
class Job:
    """The needs of a job function, as a frozen value that decorates functions.

    ``@job`` attaches it to a function; ``job(gpu=…)`` returns a new job with those fields changed. Sizes are
    GB, prices USD, durations text such as ``"60m"``. ``gpu=None`` requests a CPU pod. Raise DefinitionError.
    """

    image: str = DEFAULT_IMAGE
    gpu: Gpu | None = None
    cluster: Cluster | None = None
    storage: Storage = Storage()
    mount: str = "/workspace"
    datacenters: tuple[str, ...] = ()
    cloud: CloudChoice = CloudChoice.SECURE
    spot: bool = False
    container_disk_gb: int = DEFAULT_DISK_GB
    cpu: tuple[str, ...] = ()
    min_vcpu: int | None = None
    min_memory_gb: int | None = None
    cuda: tuple[str, ...] = ()
    min_cuda: str | None = None
    countries: tuple[str, ...] = ()
    compliance: tuple[str, ...] = ()
    global_network: bool = False
    ports: tuple[str, ...] = ()
    env: Mapping[str, str] = EMPTY
    secrets: tuple[Secret, ...] = ()
    required_paths: tuple[str, ...] = ()
    docker_args: str | None = None
    registry: Registry | str | None = None
    ssh: SshSource = SshSource.AUTO
    template_id: str | None = None
    budget: Budget = Budget()
    lifecycle: Lifecycle = Lifecycle()
    metrics: tuple[str, ...] = ()
    """Regular expressions with named groups that find numbers in the output of its commands."""

    if TYPE_CHECKING:

        def __init__(self, **fields: Unpack[JobFields]) -> None: ...

    def __post_init__(self) -> None:
        def put(name: str, value: object) -> None:
            object.__setattr__(self, name, value)

        for name, kind in (("storage", Storage), ("budget", Budget), ("lifecycle", Lifecycle)):
            if not isinstance(getattr(self, name), kind):
                raise _fail("Job", name, f"expected a {kind.__name__}(…)", getattr(self, name))
        if self.gpu is not None and not isinstance(self.gpu, Gpu):
            raise _fail("Job", "gpu", "expected a Gpu(…) or None", self.gpu)
        if self.cluster is not None and not isinstance(self.cluster, Cluster):
            raise _fail("Job", "cluster", "expected a Cluster(…) or None", self.cluster)
        if self.template_id is not None:
            self._leave_to_template(put)
        elif not isinstance(self.image, str) or not self.image.strip():
            raise _fail("Job", "image", "expected the name of a container image", self.image)
        if not isinstance(self.image, str) or any(c.isspace() for c in self.image):
            raise _fail("Job", "image", "expected the name of a container image", self.image)
        if self.registry is not None and not (isinstance(self.registry, Registry | str) and self.registry):
            raise _fail(
                "Job",
                "registry",
                "expected the name or id of credentials stored at RunPod, or a Registry(…)",
                type(self.registry).__name__,
            )
        if not isinstance(self.mount, str) or not self.mount.startswith("/"):
            raise _fail("Job", "mount", "expected an absolute path on the pod", self.mount)
        put("cloud", _choice("Job", "cloud", CloudChoice, self.cloud))
        put("ssh", _choice("Job", "ssh", SshSource, self.ssh))
        least = 1 if self.template_id is None else 0
        _whole("Job", "container_disk_gb", self.container_disk_gb, minimum=least, most=MOST_GB)
        for name in ("min_vcpu", "min_memory_gb"):
            if getattr(self, name) is not None:
                _whole("Job", name, getattr(self, name), minimum=1, most=MOST_GB)
        for name in (
            "datacenters",
            "cpu",
            "cuda",
            "countries",
            "compliance",
            "ports",
            "required_paths",
            "metrics",
        ):
            put(name, _texts("Job", name, getattr(self, name)))
        if self.cpu or self.countries or self.compliance or self.min_cuda is not None:
            self._check_words(put)
        if not isinstance(self.global_network, bool):
            raise _fail("Job", "global_network", "expected True or False", self.global_network)
        if self.metrics:
            _patterns(self.metrics)
        for port in self.ports:
            if not re.fullmatch(_PORT, port) or not 1 <= int(port.partition("/")[0]) <= _LAST_PORT:
                raise _fail("Job", "ports", 'expected ports such as "8888/http" or "22/tcp"', port)
        if not isinstance(self.spot, bool):
            raise _fail("Job", "spot", "expected True or False", self.spot)
        if self.docker_args is not None:
            _command_line(self.docker_args)
        put("env", _environment(self.env))
        put("secrets", _secrets(self.secrets))

    def _leave_to_template(self, put: Callable[[str, object], None]) -> None:
        """Leave unset fields to the template: an empty image and a disk of 0 GB are the template's."""
        if not isinstance(self.template_id, str) or not self.template_id.strip():
            raise _fail("Job", "template_id", "expected the id of a RunPod template", self.template_id)
        if self.image == DEFAULT_IMAGE:
            put("image", "")
        if self.container_disk_gb == DEFAULT_DISK_GB:
            put("container_disk_gb", 0)

    def _check_words(self, put: Callable[[str, object], None]) -> None:
        """Check the fields whose words RunPod lists, and put them in RunPod's spelling."""
        from rpd.values import platform_words  # tables that few jobs need

        for name, spelled in (
            ("cpu", platform_words.cpu_flavour),
            ("countries", platform_words.country),
            ("compliance", platform_words.compliance),
        ):
            put(name, tuple(map(spelled, getattr(self, name))))
        if self.min_cuda is not None:
            platform_words.check_cuda(self.min_cuda)

    @overload
    def __call__(self, function: F, /) -> F: ...
    @overload
    def __call__(self, /, **changes: Unpack[JobFields]) -> Job: ...
    def __call__(self, function: Any = None, /, **changes: Any) -> Any:
        """Decorate ``function``, or return a new job with ``changes``. Raise DefinitionError."""
        if function is None:
            return self.derive(**cast("JobFields", changes))
        if changes or not callable(function):
            raise _fail("Job", "", "a job decorates one function, or derives a job from keywords", function)
        if not hasattr(function, "__name__"):
            rule = "a job decorates a function: write one that calls this"
            if getattr(function, "name", "") == "needs":
                rule = "needs takes the jobs that are needed: @rpd.mark.needs(train); here it took the function itself"
            raise _fail("Job", "", rule, function)
        own: dict[str, Any] = getattr(function, "__dict__", {})
        earlier = own.get(JOB_ATTRIBUTE, self)
        try:
            # A wrapper made by functools.wraps has the job of the function in it: that is another one.
            if earlier != self and getattr(own.get("__wrapped__"), JOB_ATTRIBUTE, None) is not earlier:
                setattr(function, EARLIER_JOB_ATTRIBUTE, earlier)
            setattr(function, JOB_ATTRIBUTE, self)
        except (AttributeError, TypeError):
            raise _fail("Job", "", "a job decorates a function written in Python", function) from None
        return function

    def derive(self, **changes: Unpack[JobFields]) -> Job:
        """Return a job with the fields in ``changes`` replaced. Raise DefinitionError for an unknown field."""
        check_job_fields(changes)
        if all(getattr(self, name) is value for name, value in changes.items()):
            return self
        if self.template_id is not None and changes.get("template_id", self.template_id) is None:
            changes.setdefault("image", self.image or DEFAULT_IMAGE)
            changes.setdefault("container_disk_gb", self.container_disk_gb or DEFAULT_DISK_GB)
        return replace(self, **cast("Any", changes))  # checked and made one type again by Job itself


def _patterns(texts: tuple[str, ...]) -> None:
    from rpd.values.series import LinePatterns  # few jobs have some

    try:
        LinePatterns(texts)
    except ValueError as error:
        raise _fail("Job", "metrics", str(error), texts) from None


_TABLES: Mapping[str, Any] = {
    "storage": Storage,
    "budget": Budget,
    "lifecycle": Lifecycle,
    "cluster": Cluster,
}
"""Fields of a job that are tables in a configuration file."""


def check_job_fields(names: Iterable[str]) -> None:
    """Raise DefinitionError for the first name that is no field of a job, with the likeliest one."""
    _check_fields("Job", names, field_names(Job))


def _check_fields(owner: str, names: Iterable[str], known: Sequence[str]) -> None:
    for name in names:
        if name not in known:
            close = closest(name, known)
            hint = f"Did you mean {close!r}?" if close else f"The fields are {', '.join(known)}"
            raise _fail(owner, name, "unknown field", name, hint)


def _environment(value: object) -> Mapping[str, str]:
    if not isinstance(value, Mapping):
        raise _fail("Job", "env", "expected a mapping of names to strings", value)
    for name, text in value.items():
        if not isinstance(name, str) or not re.fullmatch(_ENVIRONMENT_NAME, name):
            raise _fail("Job", "env", "expected names of environment variables", name)
        if name in _RESERVED_ENVIRONMENT:
            raise _fail("Job", "env", "RunPod sets this variable itself", name)
        if not isinstance(text, str) or "\0" in text:
            raise _fail("Job", f"env[{name!r}]", "expected a string", text)
    return FrozenDict(value)


def _command_line(value: object) -> None:
    """Raise DefinitionError for a start command that cannot run: RunPod restarts such a container forever."""
    if not isinstance(value, str):
        raise _fail("Job", "docker_args", "expected a command line", value)
    if value.lstrip().startswith("{"):  # RunPod's JSON, with an entry point
        return
    import shlex  # few jobs have one

    try:
        shlex.split(value)
    except ValueError as error:
        raise _fail("Job", "docker_args", f"expected a command line ({error})", value) from None


def _secrets(value: object) -> tuple[Secret, ...]:
    items = (value,) if isinstance(value, Secret | str) else value
    if not isinstance(items, Iterable):
        raise _fail("Job", "secrets", "expected a sequence of Secret(…)", value)
    made = tuple(Secret(item) if isinstance(item, str) else item for item in items)
    for item in made:
        if not isinstance(item, Secret):
            raise _fail("Job", "secrets", "expected a sequence of Secret(…)", item)
    return made


@overload
def job(function: F, /) -> F: ...
@overload
def job(**fields_: Unpack[JobFields]) -> Job: ...
def job(function: Any = None, /, **fields_: Any) -> Any:
    """Make a Job from keywords, or decorate ``function`` with the default one. Raise DefinitionError."""
    check_job_fields(fields_)
    made = Job(**{**_job_defaults.get(), **fields_})
    return made if function is None else made(function)
