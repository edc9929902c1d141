"""A configuration, checked and typed: one frozen value for each section of schema version 2.

Source of the fields, their defaults and rules: the package runpod-deploy 0.8.4 on PyPI.
"""

from __future__ import annotations

import keyword
import re
from collections.abc import Mapping
from pathlib import Path

from rpd.compat.runpod_deploy.yaml_document import Problems, Value, read
from rpd.user_text import read_bytes
from rpd.values.frozen import frozen

SCHEMA_VERSION = 2
READ_BY = {1: "runpod-deploy 0.1 to 0.7", 3: "a runpod-deploy newer than 0.8"}
LIFECYCLES = ("preserve", "stop", "delete", "recycle")
DEFAULT_EXCLUDES = (
    ".git/",
    ".venv/",
    ".pytest_cache/",
    ".ruff_cache/",
    ".mypy_cache/",
    "**/__pycache__/",
    "**/*.pyc",
)
BUILT_IN = ("config_dir", "project_root", "run_dir", "run_id", "job_name", "volume_mount")
"""Names a template may use without declaring them."""
TEMPLATE = re.compile(r"(\$?)\{([A-Za-z_][A-Za-z0-9_]*)\}")


@frozen
class Text:
    """A text with templates, and the line where it begins."""

    text: str
    line: int
    key: str = ""

    @property
    def names(self) -> tuple[str, ...]:
        """The names its templates use, each once."""
        return tuple(dict.fromkeys(match[2] for match in TEMPLATE.finditer(self.text)))


@frozen
class Pod:
    """Section ``pod``."""

    image: Text
    datacenters: tuple[str, ...]
    gpu_order: tuple[str, ...]
    cloud: str
    ports: tuple[str, ...]
    container_disk_gb: int
    gpu_count: int
    spot: bool
    min_vcpu: int | None
    min_memory_gb: int | None
    python_version: str | None
    line: int
    gpu_line: int


@frozen
class Storage:
    """Section ``storage``: a volume of the pod (``volume_gb``) or a network volume by name."""

    mount: str
    volume_gb: int | None
    network_volume: str | None


@frozen
class Budget:
    """Section ``budget``; money is USD."""

    cost_cap_usd: float
    assumed_rate_usd_per_hr: float
    max_runtime_minutes: int | None
    ssh_ready_seconds: int


@frozen
class Command:
    """One command of ``setup`` or ``preflight``."""

    command: Text
    seconds: int
    with_env: bool


@frozen
class Secret:
    """One entry of ``secrets``: environment variables, or a local file, that become a file on the pod."""

    name: str
    destination: Text
    env: tuple[str, ...]
    file: Text | None
    mode: int
    line: int


@frozen
class Push:
    """One entry of ``staging``."""

    label: str
    source: Text
    destination: Text
    excludes: tuple[str, ...]
    delete: bool
    line: int


@frozen
class Artifact:
    """One entry of ``artifacts``."""

    label: str
    remote: Text
    local: Text
    required: bool
    excludes: tuple[str, ...]
    deletes: bool
    line: int


@frozen
class Script:
    """Section ``run``; ``body_line`` is the line of the script's first line."""

    path: Text
    log: Text
    success_marker: Text
    body: Text
    body_line: int
    failure_markers: tuple[str, ...] | None
    line: int


@frozen
class Telemetry:
    """Section ``telemetry``, as far as rpd does not do it anyway."""

    enabled: bool
    captures_packages: bool


@frozen
class Spec:
    """A whole configuration."""

    path: Path
    name: Text
    run_id_prefix: str
    project_root: Text
    required_paths: tuple[Text, ...]
    pod: Pod
    storage: Storage
    budget: Budget
    source_files: tuple[Text, ...]
    exports: Mapping[str, Text]
    setup: tuple[Command, ...]
    preflight: tuple[Command, ...]
    staging: tuple[Push, ...]
    secrets: tuple[Secret, ...]
    script: Script
    artifacts: tuple[Artifact, ...]
    on_success: str
    on_failure: str
    telemetry: Telemetry
    variables: Mapping[str, Text]
    lines: Mapping[str, int]
    """The line of each key that is there: ``state_file``, ``budget.cost_cap_usd`` …"""


def looks_like_one(path: Path) -> bool:
    """Return whether the first keys of a YAML file look like such a configuration; projects hold other YAML too."""
    try:
        head = read_bytes(path, 65_536).decode("utf-8-sig", "replace")
    except OSError:
        return False
    keys = {line.partition(":")[0] for line in head.splitlines() if line[:1].isalpha()}
    return {"schema_version", "run", "pod"} <= keys


def read_spec(path: Path) -> Spec:
    """Read the file. Raise CollectionError with every problem of the file, each with its line and key."""
    problems = Problems(path)
    root = read(path, problems)
    reader = _Reader(path, problems)
    spec = reader.spec(root)
    problems.check()
    _check_templates(spec, problems)
    problems.check()
    return spec


class _Reader:
    """Reads the sections of one file."""

    def __init__(self, path: Path, problems: Problems) -> None:
        self._path = path
        self._problems = problems
        self._lines: dict[str, int] = {}

    def spec(self, root: Value) -> Spec:
        keys = root.mapping(
            *("schema_version", "name", "run_id_prefix", "state_file", "local", "pod", "storage", "ssh"),
            *("budget", "remote_env", "setup", "preflight", "staging", "secrets", "run", "artifacts"),
            *("lifecycle", "telemetry", "variables"),
        )
        for name, value in keys.items():
            self._lines[name] = value.line
            if value.is_mapping and name != "variables":
                self._lines |= {f"{name}.{inner}": item.line for inner, item in value.peek().items()}
        self._check_version(keys.get("schema_version"))
        local = self._section(keys, "local", "project_root", "required_paths")
        budget = self._section(
            keys,
            "budget",
            *("cost_cap_usd", "assumed_hourly_rate_usd", "max_runtime_minutes"),
            *("poll_interval_sec", "ssh_ready_timeout_sec"),
        )
        environment = self._section(keys, "remote_env", "source_files", "exports")
        ssh = self._section(keys, "ssh", "key_path")
        on_success, on_failure = self._lifecycle(keys)
        # rpd has no use for them, but a wrong value is still a mistake in the file.
        for section, name in ((keys, "run_id_prefix"), (keys, "state_file"), (ssh, "key_path")):
            if name in section:
                section[name].text()
        _whole(budget, "poll_interval_sec", None)
        return Spec(
            path=self._path,
            name=self._text(keys, "name", root),
            run_id_prefix=str((keys.get("run_id_prefix") or keys["name"]).text()) if "name" in keys else "",
            project_root=_text(local["project_root"]) if "project_root" in local else Text(text=".", line=1),
            required_paths=tuple(map(_text, local["required_paths"].items()))
            if "required_paths" in local
            else (),
            pod=self._pod(keys, root),
            storage=self._storage(keys, root),
            budget=Budget(
                cost_cap_usd=budget["cost_cap_usd"].number() if "cost_cap_usd" in budget else 10.0,
                assumed_rate_usd_per_hr=budget["assumed_hourly_rate_usd"].number()
                if "assumed_hourly_rate_usd" in budget
                else 1.65,
                max_runtime_minutes=_whole(budget, "max_runtime_minutes", None),
                ssh_ready_seconds=_whole(budget, "ssh_ready_timeout_sec", 900) or 900,
            ),
            source_files=tuple(map(_text, environment["source_files"].items()))
            if "source_files" in environment
            else (),
            exports=self._exports(environment["exports"]) if "exports" in environment else {},
            setup=self._commands(keys, "setup"),
            preflight=self._commands(keys, "preflight"),
            staging=tuple(map(self._push, keys["staging"].items())) if "staging" in keys else (),
            secrets=tuple(map(self._secret, keys["secrets"].items())) if "secrets" in keys else (),
            script=self._script(keys, root),
            artifacts=tuple(map(self._artifact, keys["artifacts"].items())) if "artifacts" in keys else (),
            on_success=on_success,
            on_failure=on_failure,
            telemetry=self._telemetry(keys),
            variables=self._variables(keys),
            lines=self._lines,
        )

    def _check_version(self, value: Value | None) -> None:
        if value is None:
            self._problems.add(1, "schema_version", f"is missing; write schema_version: {SCHEMA_VERSION}")
            return
        version = value.whole(minimum=0)
        if version != SCHEMA_VERSION:
            by = f" (that of {READ_BY[version]})" if version in READ_BY else ""
            value.wrong(f"expected {SCHEMA_VERSION}, the schema of runpod-deploy 0.8, got {version}{by}")

    def _section(self, keys: Mapping[str, Value], name: str, *allowed: str) -> Mapping[str, Value]:
        return keys[name].mapping(*allowed) if name in keys else {}

    def _required(self, keys: Mapping[str, Value], name: str, owner: Value) -> Value | None:
        """Return the value of a key that has to be there; None, with the problem noted, where it is not."""
        if name not in keys:
            path = f"{owner.key}.{name}" if owner.key else name
            self._problems.add(owner.line, path, "is missing")
        return keys.get(name)

    def _text(self, keys: Mapping[str, Value], name: str, owner: Value) -> Text:
        value = self._required(keys, name, owner)
        return _text(value) if value is not None else Text(text="", line=owner.line)

    def _texts(self, keys: Mapping[str, Value], name: str, owner: Value) -> tuple[str, ...]:
        value = self._required(keys, name, owner)
        texts = value.texts() if value is not None else ()
        if value is not None and not texts:
            value.wrong("expected at least one entry")
        return texts

    def _pod(self, keys: Mapping[str, Value], root: Value) -> Pod:
        owner = self._required(keys, "pod", root) or root
        pod = (
            owner.mapping(
                *(
                    "image",
                    "datacenters",
                    "gpu_order",
                    "cloud_type",
                    "ports",
                    "container_disk_gb",
                    "gpu_count",
                ),
                *("spot", "min_vcpu_count", "min_memory_gb", "python_version"),
            )
            if "pod" in keys
            else {}
        )
        cloud = pod["cloud_type"].text(default="SECURE") if "cloud_type" in pod else "SECURE"
        if cloud.lower() not in ("secure", "community"):
            pod["cloud_type"].wrong(f"expected SECURE or COMMUNITY, got {cloud!r}")
        version = pod["python_version"].text() if "python_version" in pod else None
        if version is not None and not re.fullmatch(r"3\.\d+(\.\d+)?", version):
            pod["python_version"].wrong(f'expected a version such as "3.13" or "3.13.5", got {version!r}')
        ports = pod["ports"].texts() if "ports" in pod else ()
        return Pod(
            image=self._text(pod, "image", owner),
            datacenters=self._texts(pod, "datacenters", owner),
            gpu_order=self._texts(pod, "gpu_order", owner),
            cloud=cloud.lower(),
            ports=tuple(port for port in ports if port != "22/tcp"),
            container_disk_gb=_whole(pod, "container_disk_gb", 20) or 20,
            gpu_count=_whole(pod, "gpu_count", 1) or 1,
            spot=pod["spot"].flag() if "spot" in pod else False,
            min_vcpu=_whole(pod, "min_vcpu_count", None),
            min_memory_gb=_whole(pod, "min_memory_gb", None),
            python_version=version,
            line=owner.line,
            gpu_line=pod["gpu_order"].line if "gpu_order" in pod else owner.line,
        )

    def _storage(self, keys: Mapping[str, Value], root: Value) -> Storage:
        owner = self._required(keys, "storage", root)
        storage = owner.mapping("mode", "volume_mount", "volume_name", "volume_gb") if owner else {}
        mount = (
            storage["volume_mount"].text(default="/workspace") if "volume_mount" in storage else "/workspace"
        )
        if not mount.startswith("/"):
            storage["volume_mount"].wrong(f"expected an absolute path, got {mount!r}")
        mode = self._required(storage, "mode", owner) if owner else None
        chosen = mode.text() if mode else ""
        volume_gb = _whole(storage, "volume_gb", None)
        name = storage["volume_name"].text() if "volume_name" in storage else None
        if mode is not None and chosen not in ("network_volume", "ephemeral"):
            mode.wrong(f"expected network_volume or ephemeral, got {chosen!r}")
        elif mode is not None and chosen == "network_volume" and not name:
            mode.wrong("a network_volume needs volume_name")
        elif mode is not None and chosen == "ephemeral" and volume_gb is None:
            mode.wrong("ephemeral storage needs volume_gb")
        is_network = chosen == "network_volume"
        return Storage(
            mount=mount,
            volume_gb=None if is_network else volume_gb,
            network_volume=name if is_network else None,
        )

    def _commands(self, keys: Mapping[str, Value], name: str) -> tuple[Command, ...]:
        commands = []
        for item in keys[name].items() if name in keys else ():
            fields = item.mapping("command", "timeout_sec", "with_env")
            commands.append(
                Command(
                    command=self._text(fields, "command", item),
                    seconds=_whole(fields, "timeout_sec", 600) or 600,
                    with_env=fields["with_env"].flag() if "with_env" in fields else False,
                )
            )
        return tuple(commands)

    def _push(self, item: Value) -> Push:
        fields = item.mapping(
            *("label", "source", "destination", "excludes", "delete", "excludes_default", "excludes_extra")
        )
        excludes = fields["excludes"].texts() if "excludes" in fields else ()
        extra = fields["excludes_extra"].texts() if "excludes_extra" in fields else ()
        uses_default = fields["excludes_default"].flag() if "excludes_default" in fields else False
        return Push(
            label=self._text(fields, "label", item).text,
            source=self._text(fields, "source", item),
            destination=self._text(fields, "destination", item),
            excludes=(*(DEFAULT_EXCLUDES if uses_default else ()), *excludes, *extra),
            delete=fields["delete"].flag() if "delete" in fields else True,
            line=item.line,
        )

    def _secret(self, item: Value) -> Secret:
        fields = item.mapping("name", "destination", "env", "file", "mode")
        env = fields["env"].texts() if "env" in fields else ()
        for name in env:
            if not name.isidentifier():
                fields["env"].wrong(f"expected names of environment variables, got {name!r}")
        if bool(env) == ("file" in fields):
            item.wrong("expected either env or file")
        mode = fields["mode"].text(default="0600") if "mode" in fields else "0600"
        if not re.fullmatch(r"0?[0-7]{3}", mode):
            fields["mode"].wrong(f'expected an octal mode such as "0600", got {mode!r}')
            mode = "0600"
        destination = self._text(fields, "destination", item)
        if destination.text and not destination.text.startswith(("/", "{")):
            fields["destination"].wrong(f"expected an absolute path on the pod, got {destination.text!r}")
        return Secret(
            name=self._text(fields, "name", item).text,
            destination=destination,
            env=env,
            file=_text(fields["file"]) if "file" in fields else None,
            mode=int(mode, 8),
            line=item.line,
        )

    def _script(self, keys: Mapping[str, Value], root: Value) -> Script:
        owner = self._required(keys, "run", root)
        fields = (
            owner.mapping("script_path", "log_path", "success_marker", "failure_markers", "body")
            if owner
            else {}
        )
        at = owner or root
        for name in ("script_path", "log_path"):
            if name in fields and not fields[name].text(default="/").startswith(("/", "{")):
                fields[name].wrong("expected an absolute path on the pod")
        markers = fields["failure_markers"].texts() if "failure_markers" in fields else None
        if markers == ():
            fields["failure_markers"].wrong(
                "an empty list made every runpod-deploy run wait until its timeout; leave the key out: "
                "rpd goes by the exit code"
            )
        return Script(
            path=self._text(fields, "script_path", at),
            log=self._text(fields, "log_path", at),
            success_marker=self._text(fields, "success_marker", at),
            body=self._text(fields, "body", at),
            body_line=fields["body"].first_text_line if "body" in fields else at.line,
            failure_markers=markers,
            line=at.line,
        )

    def _artifact(self, item: Value) -> Artifact:
        fields = item.mapping("label", "remote_path", "local_path", "required", "excludes", "delete")
        label = self._text(fields, "label", item).text
        if "/" in label or label in (".", ".."):
            fields["label"].wrong(f"expected the name of a folder, got {label!r}")
        return Artifact(
            label=label,
            remote=self._text(fields, "remote_path", item),
            local=self._text(fields, "local_path", item),
            required=fields["required"].flag() if "required" in fields else True,
            excludes=fields["excludes"].texts() if "excludes" in fields else (),
            deletes=fields["delete"].flag() if "delete" in fields else True,
            line=item.line,
        )

    def _lifecycle(self, keys: Mapping[str, Value]) -> tuple[str, str]:
        fields = self._section(keys, "lifecycle", "on_success", "on_failure")
        chosen = {"on_success": "delete", "on_failure": "stop"}
        for name in chosen:
            if name in fields:
                chosen[name] = fields[name].text(default="delete")
                if chosen[name] not in LIFECYCLES:
                    fields[name].wrong(f"expected one of {', '.join(LIFECYCLES)}, got {chosen[name]!r}")
        if chosen["on_failure"] == "recycle":
            fields["on_failure"].wrong(
                "the pod of a failed run is never used again; write stop to look at it, or delete"
            )
        return chosen["on_success"], chosen["on_failure"]

    def _telemetry(self, keys: Mapping[str, Value]) -> Telemetry:
        flags = (
            *("enabled", "capture_nvidia_smi", "capture_dmesg", "capture_pod_describe", "capture_remote_env"),
            *("capture_local_git", "capture_payload_lockfile"),
        )
        fields = self._section(keys, "telemetry", "sample_interval_sec", *flags)
        said = {name: fields[name].flag() for name in flags if name in fields}
        if "sample_interval_sec" in fields:
            fields["sample_interval_sec"].whole(minimum=5)
        enabled = said.get("enabled", True)
        return Telemetry(enabled=enabled, captures_packages=enabled and said.get("capture_remote_env", True))

    def _exports(self, value: Value) -> Mapping[str, Text]:
        exports = {}
        for name, text in value.mapping().items():
            if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name):
                text.wrong("expected the name of an environment variable: letters, digits and _")
            exports[name] = _text(text)
        return exports

    def _variables(self, keys: Mapping[str, Value]) -> Mapping[str, Text]:
        variables = {}
        for name, value in keys["variables"].mapping().items() if "variables" in keys else ():
            if not name.isidentifier() or keyword.iskeyword(name):
                value.wrong("expected the name of a variable: letters, digits and _, not a Python keyword")
            elif name in BUILT_IN:
                value.wrong("runpod-deploy reserves this name")
            variables[name] = Text(text=value.text(), line=value.line, key=value.key)
        return variables


def _text(value: Value) -> Text:
    return Text(text=value.text(), line=value.line, key=value.key)


def _whole(fields: Mapping[str, Value], name: str, default: int | None) -> int | None:
    return fields[name].whole(minimum=1) if name in fields else default


def texts_of(spec: Spec) -> tuple[Text, ...]:
    """Return every text of a configuration that may hold templates, in the order in which they are used."""
    return (
        *spec.required_paths,
        *spec.variables.values(),
        *spec.source_files,
        *spec.exports.values(),
        *(command.command for command in (*spec.setup, *spec.preflight)),
        *(text for secret in spec.secrets for text in (secret.destination, secret.file) if text),
        *(text for push in spec.staging for text in (push.source, push.destination)),
        *(Text(text=each, line=push.line) for push in spec.staging for each in push.excludes),
        spec.script.path,
        spec.script.log,
        spec.script.success_marker,
        spec.script.body,
        *(artifact.remote for artifact in spec.artifacts),
        *(Text(text=each, line=pull.line) for pull in spec.artifacts for each in pull.excludes),
        spec.name,
        spec.pod.image,
    )


def _check_templates(spec: Spec, problems: Problems) -> None:
    """Note templates that runpod-deploy cannot have meant: it reads ``${HOME}`` as its own variable HOME."""
    for text in texts_of(spec):
        first = spec.script.body_line if text is spec.script.body else text.line
        for match in TEMPLATE.finditer(text.text):
            line = first + text.text.count("\n", 0, match.start())
            name = match[2]
            if keyword.iskeyword(name):
                problems.add(line, text.key, f"{{{name}}} is a Python keyword: rename the variable")
            elif match[1] and name not in spec.variables and name not in BUILT_IN:
                problems.add(
                    line,
                    text.key,
                    f"${{{name}}} is read as the variable {name}, which is not declared; "
                    f"write ${name} for the shell's",
                )
