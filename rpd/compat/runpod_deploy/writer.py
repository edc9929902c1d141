"""From a configuration to the deploy file that does the same; collecting a YAML runs this very text."""

from __future__ import annotations

import keyword
import os
import posixpath
import re
import shlex
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from rpd.compat.runpod_deploy.excludes import translated
from rpd.compat.runpod_deploy.python_text import WIDTH, Lines, call, listed, literal, template
from rpd.compat.runpod_deploy.spec import BUILT_IN, TEMPLATE, Command, Push, Secret, Spec, Text, texts_of
from rpd.errors import CollectionError
from rpd.values.frozen import frozen

HOME = "/root"
"""Where runpod-deploy's commands begin: it logs in over SSH. rpd's begin at the mount."""
_BUILT_IN_VALUES = {
    "project_root": "PROJECT",
    "run_dir": "run_dir",
    "run_id": "run_dir.parent.name",
}
"""Names that templates use without declaring them, and where a deploy file has their values from."""
TAKEN = frozenset(
    {
        *("gpu", "pod", "project_dir", "provision", "record_metric", "request", "run_dir", "staged_dir"),
        *("tmp_path", "variables", "prepared"),
        *(
            "rpd",
            "os",
            "Path",
            "HERE",
            "PROJECT",
            "JOB",
            "CONFIG_DIR",
            "Budget",
            "Gpu",
            "Lifecycle",
            "Secret",
            "Storage",
        ),
    }
)
"""Names of rpd's fixtures and of the file that is written; a variable of such a name would hide it."""


_CACHES = tuple(
    map(literal, (".git/", ".pytest_cache/", ".ruff_cache/", ".mypy_cache/", "__pycache__/", "*.pyc"))
)
"""Exclusions that nobody misses on the pod."""
_STEP_MARKER = "__RUNPOD_STEP_"
_AS_MARKS = (
    r"s/.*__RUNPOD_STEP_START__\([A-Za-z0-9_.-]*\)__.*/::rpd-step \1/; s/.*__RUNPOD_STEP_DONE__.*/::rpd-step/"
)


@frozen
class Notice:
    """One difference between a deploy file and its configuration, or an omission, and the reason."""

    line: int
    key: str
    text: str

    def __str__(self) -> str:
        return f"line {self.line}: {self.key}: {self.text}"


@frozen
class Written:
    """A deploy file: its lines (with the lines of the configuration they come from), its job, and the differences."""

    lines: Lines
    job: str
    notices: tuple[Notice, ...]


def write(spec: Spec, *, folder: Path | None = None) -> Written:
    """Return the deploy file for ``spec``, to be put into ``folder`` (default: next to the configuration).

    Raise CollectionError for names that cannot be those of a deploy file.
    """
    return _Writer(spec, folder or spec.path.parent).written()


class _Writer:
    """Writes one file."""

    def __init__(self, spec: Spec, folder: Path) -> None:
        self._spec = spec
        self._folder = folder
        self._out = Lines()
        self._notices: list[Notice] = []
        self._job = job_name(spec.name.text)
        used = {name for text in texts_of(spec) for name in text.names if name not in BUILT_IN}
        self._undeclared = sorted(used - spec.variables.keys())
        self._is_kept = spec.storage.network_volume is not None or spec.on_success == "recycle"
        """Whether files outlive the pod, or the pod the run."""
        self._has_environment = False

    def written(self) -> Written:
        self._check_names()
        self._head()
        self._variables()
        self._job_value()
        self._prepared()
        self._function()
        self._left_out()
        return Written(
            lines=self._out,
            job=self._job,
            notices=tuple(sorted(self._notices, key=lambda notice: notice.line)),
        )

    # --- values -----------------------------------------------------------------------------------------------------

    def _check_names(self) -> None:
        spec = self._spec
        if self._root in (str(Path.home()), "/"):
            raise CollectionError(
                f"{spec.path.name}:{spec.project_root.line}: local.project_root: this is {self._root}, all of which "
                'would be sent; write the folder of the project, such as ".."',
                file=str(spec.path),
                line=spec.project_root.line,
            )
        for name in (*spec.variables, *self._undeclared):
            if name in TAKEN or name == self._job:
                line = spec.variables[name].line if name in spec.variables else spec.name.line
                raise CollectionError(
                    f"{spec.path.name}:{line}: variables.{name}: this name is taken in rpd (a fixture, or the job); "
                    "give the variable another one",
                    file=str(spec.path),
                    line=line,
                )

    def _value(self, text: Text) -> str:
        """Return the Python expression of a text; the names in its templates are known when the function runs."""
        spec = self._spec
        filled = _filled(text.text, {"job_name": spec.name.text, "volume_mount": spec.storage.mount})
        folder = self._relative(str(spec.path.parent))
        built_in = {**_BUILT_IN_VALUES, "config_dir": "HERE" if folder == "." else "CONFIG_DIR"}
        return template(filled, TEMPLATE, lambda name: built_in.get(name, name))

    def _arguments(self, *texts: Text, first: Sequence[str] = ()) -> list[str]:
        """Return the fixtures that a function with these texts has to ask for."""
        names = _names(texts)
        if "job_name" in names:
            names = list(dict.fromkeys([*names, *self._spec.name.names]))
        built_in = ["run_dir"] if {"run_dir", "run_id"} & {*names} else []
        own = [name for name in names if name not in BUILT_IN]
        return [*first, *built_in, *own]

    def _note(self, line: int, key: str, text: str) -> None:
        self._notices.append(Notice(line=line, key=key, text=text))

    # --- the parts of the file --------------------------------------------------------------------------------------

    def _head(self) -> None:
        spec, out = self._spec, self._out
        out.add(f'"""{self._job}: written by `rpd import` from {spec.path.name}."""', spec.name.line)
        out.add()
        out.add("from pathlib import Path")
        out.add()
        out.add("import rpd")
        words = ["Budget", "Gpu", "Storage"]
        words += ["Lifecycle"] if (spec.on_success, spec.on_failure) != ("delete", "delete") else []
        words += ["Secret"] if spec.secrets else []
        out.add(f"from rpd import {', '.join(sorted(words))}")
        out.add()
        out.add("HERE = Path(__file__).parent")
        relative = self._relative(self._root)
        place = "HERE" if relative == "." else f"(HERE / {literal(relative)}).resolve()"
        out.add(f"PROJECT = {place}", spec.lines.get("local.project_root", 0))
        beside = self._relative(str(spec.path.parent))
        if beside != "." and any("config_dir" in text.names for text in texts_of(spec)):
            out.add(f"CONFIG_DIR = (HERE / {literal(beside)}).resolve()")

    @property
    def _root(self) -> str:
        """The folder of the project on this machine."""
        return os.path.normpath(self._spec.path.parent / Path(self._spec.project_root.text).expanduser())

    def _relative(self, path: str) -> str:
        """Return a path relative to the folder of the deploy file."""
        return os.path.relpath(path, self._folder).replace(os.sep, "/")

    def _variables(self) -> None:
        spec, out = self._spec, self._out
        if not spec.variables and not self._undeclared:
            return
        out.add()
        plain = {name: text for name, text in spec.variables.items() if not text.names}
        for name, text in plain.items():
            out.add(f"{name} = rpd.variable(default={literal(text.text)})", text.line)
        for name in self._undeclared:
            out.add(
                f'# No default: give --var {name}=…, or sweep over it: @rpd.mark.parametrize("{name}", ["1", "2"])'
            )
            used = min((text.line for text in texts_of(spec) if name in text.names), default=spec.name.line)
            out.add(f"{name} = rpd.variable()", used)
        for name, text in spec.variables.items():
            if text.names:
                out.add()
                out.add()
                out.add("@rpd.fixture", text.line)
                asks = self._arguments(text, first=["variables"])
                out.add(f"def {name}({', '.join(asks)}):", text.line)
                out.add(f'    """A variable made of others; --var {name}=… overrides it."""', text.line)
                out.add(f"    return variables.get({literal(name)}, {self._value(text)})", text.line)

    def _job_value(self) -> None:
        spec, out = self._spec, self._out
        pod, storage = spec.pod, spec.storage
        gpu_named = {"count": str(pod.gpu_count)} if pod.gpu_count != 1 else {}
        if pod.cloud != "community" and len(pod.gpu_order) > 1 and len(pod.datacenters) > 1:
            gpu_named["prefer"] = literal("place")  # runpod-deploy goes data centre by data centre
        fields = {
            "image": self._image(),
            "gpu": call("Gpu", [literal(gpu_id) for gpu_id in pod.gpu_order], gpu_named),
            "datacenters": listed(pod.datacenters),
        }
        if pod.cloud == "community":
            # RunPod refuses Community pods that are pinned to a data centre.
            del fields["datacenters"]
            self._note(
                pod.line, "pod.datacenters", "left out: Community pods can't be pinned to a data centre"
            )
        fields |= {"cloud": literal(pod.cloud)} if pod.cloud != "secure" else {}
        fields |= {"spot": "True"} if pod.spot else {}
        fields |= {"ports": listed(pod.ports)} if pod.ports else {}
        if pod.container_disk_gb != 20:
            fields["container_disk_gb"] = str(pod.container_disk_gb)
        fields |= {"min_vcpu": str(pod.min_vcpu)} if pod.min_vcpu else {}
        fields |= {"min_memory_gb": str(pod.min_memory_gb)} if pod.min_memory_gb else {}
        kept = (
            {"network_volume": literal(storage.network_volume)}
            if storage.network_volume
            else {"volume_gb": str(storage.volume_gb)}
        )
        fields["storage"] = call("Storage", (), kept)
        fields |= {"mount": literal(storage.mount)} if storage.mount != "/workspace" else {}
        secrets = [value for secret in spec.secrets for value in self._secret_values(secret)]
        fields |= {"secrets": _laid_out("secrets", secrets)} if secrets else {}
        required = [self._required(text) for text in spec.required_paths]
        fields |= {"required_paths": _laid_out("required_paths", required)} if required else {}
        fields["budget"] = self._budget()
        changed = {
            name: literal(value)
            for name, value in (("on_success", spec.on_success), ("on_failure", spec.on_failure))
            if value != "delete"
        }
        fields |= {"lifecycle": call("Lifecycle", (), changed)} if changed else {}
        out.add()
        if any(text.names for text in spec.variables.values()):
            out.add()  # after a function
        out.add("JOB = rpd.job(", pod.line)
        for name, value in fields.items():
            out.add(f"    {name}={value},", pod.gpu_line if name == "gpu" else pod.line)
        out.add(")")
        if spec.on_failure == "stop":
            self._note(
                spec.lines.get("lifecycle.on_failure", spec.name.line),
                "lifecycle.on_failure",
                "stop keeps a failed pod's volume, which still bills; `--keep-failed 2h` keeps the whole pod, "
                "which deletes itself afterwards",
            )

    def _image(self) -> str:
        """Return the image; a template in it is filled in now, since a job is made before variables are known."""
        return literal(self._fixed(self._spec.pod.image, "pod.image", "the image"))

    def _fixed(self, text: Text, key: str, what: str) -> str:
        """Return a text with the defaults of its variables. Raise CollectionError for one that has none."""
        spec = self._spec
        plain = {name: value.text for name, value in spec.variables.items() if not value.names}
        values = {"volume_mount": spec.storage.mount, **plain}
        filled = _filled(text.text, values)
        for match in TEMPLATE.finditer(filled):
            raise CollectionError(
                f"{spec.path.name}:{text.line}: {key}: {{{match[2]}}} has no known default, and {what} is "
                f"part of the job, which is made before --var is read; write {what} itself",
                file=str(spec.path),
                line=text.line,
            )
        if plain.keys() & {*text.names}:
            self._note(
                text.line, key, "its templates are filled in with their defaults; --var does not change it"
            )
        return filled

    def _required(self, text: Text) -> str:
        """Return a required path relative to the deploy file; a variable made of others is replaced by those."""
        spec = self._spec
        made = {name: value.text for name, value in spec.variables.items() if value.names}
        values = {
            "job_name": spec.name.text,
            "volume_mount": spec.storage.mount,
            "project_root": self._root,
            "config_dir": str(spec.path.parent),
            **made,
        }
        filled = text.text
        for _ in range(len(values) + 1):
            filled = _filled(filled, values)
        if {"run_dir", "run_id"} & {match[2] for match in TEMPLATE.finditer(filled)}:
            raise CollectionError(
                f"{spec.path.name}:{text.line}: {text.key}: the folder of a run does not exist before the run",
                file=str(spec.path),
                line=text.line,
            )
        if filled.startswith("~"):
            return literal(filled)
        return literal(self._relative(str(Path(self._root) / filled)))

    def _budget(self) -> str:
        budget = self._spec.budget
        named = {"cost_cap_usd": f"{budget.cost_cap_usd:g}"}
        if budget.max_runtime_minutes is not None:
            named["max_runtime"] = literal(f"{budget.max_runtime_minutes}m")
            assumed = budget.assumed_rate_usd_per_hr * budget.max_runtime_minutes / 60
            if assumed > budget.cost_cap_usd:
                self._note(
                    self._spec.lines["budget"],
                    "budget",
                    f"{budget.max_runtime_minutes} minutes at the assumed ${budget.assumed_rate_usd_per_hr:g}/h are "
                    f"${assumed:.2f}, more than cost_cap_usd: runpod-deploy refuses this run; rpd ends it at the cap",
                )
        if budget.ssh_ready_seconds != 900:
            named["ssh_ready_timeout"] = literal(f"{budget.ssh_ready_seconds}s")
        return call("Budget", (), named)

    def _secret_values(self, secret: Secret) -> list[str]:
        """Return the secrets of an entry: variables, which a command writes into a file later, or the file itself."""
        if secret.file is None:
            return [call("Secret", [literal(name)]) for name in secret.env]
        key = f"secrets {secret.name}"
        file = self._fixed(secret.file, f"{key}.file", "the file")
        named = {
            "file": literal(file) if file.startswith("~") else f"str({_path(literal(file))})",
            "to": literal(self._fixed(secret.destination, f"{key}.destination", "the destination")),
            **({} if secret.mode == 0o600 else {"mode": f"0o{secret.mode:o}"}),
        }
        return [call("Secret", [literal(_name_of(secret))], named, indent=8).lstrip()]

    def _prepared(self) -> None:
        spec, out = self._spec, self._out
        commands = (*spec.setup, *spec.preflight)
        written = [secret for secret in spec.secrets if secret.file is None]
        if not (
            commands or written or spec.staging or spec.pod.python_version or spec.telemetry.captures_packages
        ):
            return
        texts = [
            *(command.command for command in commands),
            *(secret.destination for secret in written),
            *(text for push in spec.staging for text in (push.source, push.destination)),
            *(Text(text=pattern, line=push.line) for push in spec.staging for pattern in push.excludes),
            *(self._environment_texts if any(command.with_env for command in commands) else ()),
        ]
        line = spec.name.line
        out.add()
        out.add()
        out.add("@rpd.fixture", line)
        out.add(f"def prepared({', '.join(self._arguments(*texts, first=['pod']))}):", line)
        out.add(
            '    """Everything before the script. The time that `max_runtime` allows begins after it."""',
            line,
        )
        for number, command in enumerate(spec.setup):
            self._command(command, f"setup[{number}]")
        for secret in written:
            self._place_secret(secret)
        for push in spec.staging:
            self._push(push)
        self._python_pin()
        for number, command in enumerate(spec.preflight):
            self._command(command, f"preflight[{number}]")
        if spec.telemetry.captures_packages:
            out.add(
                call(
                    "pod.run",
                    [literal("python3 -m pip freeze")],
                    {"check": "False", "name": literal("installed packages")},
                    indent=4,
                ),
                line,
            )

    def _command(self, command: Command, name: str) -> None:
        if command.with_env:
            self._environment()
        named = {"cwd": literal(HOME), "timeout": str(command.seconds), "name": literal(name)}
        self._out.add(call("pod.run", [self._value(command.command)], named, indent=4), command.command.line)

    @property
    def _environment_texts(self) -> tuple[Text, ...]:
        return (*self._spec.exports.values(), *self._spec.source_files)

    def _environment(self) -> None:
        """Give the variables, once, to all commands from here on."""
        spec, out = self._spec, self._out
        if self._has_environment:
            return
        self._has_environment = True
        for text in spec.source_files:
            # As before, one that is missing is passed over; one that is broken is not.
            out.add(call("pod.source", [self._value(text)], {"required": "False"}, indent=4), text.line)
        if spec.exports:
            line = next(iter(spec.exports.values())).line
            named = {name: self._value(text) for name, text in spec.exports.items()}
            if any(map(keyword.iskeyword, named)):
                entries = ", ".join(f"{literal(name)}: {value}" for name, value in named.items())
                out.add(f"    pod.setenv(**{{{entries}}})", line)
            else:
                out.add(call("pod.setenv", (), named, indent=4), line)

    def _place_secret(self, secret: Secret) -> None:
        """Write the file from the environment of a command: the value is in no argument and no request."""
        target = _shell(secret.destination.text)
        # Exported and quoted, so that a script can source the file whatever is in the values.
        content = "; ".join(f"printf 'export %s=%q\\n' {name} \"${name}\"" for name in secret.env)
        text = Text(
            text=f"umask 077; mkdir -p {_shell(posixpath.dirname(secret.destination.text) or '/')}; "
            f"{{ {content}; }} > {target}; chmod {secret.mode:o} {target}",
            line=secret.line,
        )
        named = {"name": literal(f"secret {secret.name}")}
        self._out.add(call("pod.run", [self._value(text)], named, indent=4), secret.line)

    def _push(self, push: Push) -> None:
        excludes = self._excludes(push)
        target = Text(text=self._target_of(push), line=push.destination.line, key=push.destination.key)
        source = push.source.text.rstrip("/") or "/"
        place = (
            "PROJECT"
            if source == "."
            else f"PROJECT / {self._value(Text(text=source, line=push.source.line))}"
        )
        if source.startswith(("/", "~", "{project_root}", "{config_dir}", "{run_dir}")):
            place = self._value(Text(text=str(Path(source).expanduser()), line=push.source.line))
        is_file = self._is_file(push)
        named = {"exclude": _list(excludes)} if excludes else {}
        # rsync keeps files on the pod that it does not send; that matters if the tree exists before.
        kept = [made for made in excludes if made not in _CACHES] if push.delete and self._is_kept else []
        named |= {"keep": _list(kept)} if kept else {}
        named |= {} if push.delete or is_file else {"delete": "False"}
        named |= {} if is_file else {"ignored": "True"}
        self._out.add(call("pod.put", [place, self._value(target)], named, indent=4), push.line)

    def _excludes(self, push: Push) -> list[str]:
        """Return the expressions of the patterns that rpd takes, each once."""
        made: dict[str, None] = {}
        folder = "" if _sends_contents(push) else posixpath.basename(push.source.text.rstrip("/"))
        for pattern in push.excludes:
            rule = translated(pattern, folder)
            if rule is None:
                self._note(
                    push.line,
                    "staging[].excludes",
                    f"{pattern!r} is an rsync filter that rpd lacks, or matches nothing that is sent: dropped",
                )
            else:
                made[self._value(Text(text=rule, line=push.line))] = None
        return list(made)

    def _is_file(self, push: Push) -> bool:
        """Return whether a file is sent; of one that is not there, or has templates in its name, the suffix tells."""
        path = Path(self._root) / push.source.text
        return path.is_file() or (not path.exists() and path.suffix != "")

    def _target_of(self, push: Push) -> str:
        """Return where the source itself lands: without a slash at its end rsync puts it *into* the destination."""
        destination = push.destination.text.rstrip("/") or "/"
        if _sends_contents(push) or (self._is_file(push) and not push.destination.text.endswith("/")):
            return destination
        return posixpath.join(destination, posixpath.basename(push.source.text))

    def _python_pin(self) -> None:
        version = self._spec.pod.python_version
        if version is None:
            return
        place = HOME
        if self._spec.staging:
            first = self._spec.staging[0]
            place = self._target_of(first)
            place = posixpath.dirname(place) if self._is_file(first) else place
        text = Text(text=place, line=self._spec.pod.line)
        pinned = call("pod.pin_python", [literal(version)], {"cwd": self._value(text)}, indent=4)
        self._out.add(pinned, self._spec.pod.line)

    def _function(self) -> None:
        spec, out = self._spec, self._out
        script, artifacts = spec.script, spec.artifacts
        has_prepared = "def prepared(" in str(out)
        texts = [script.path, script.log, script.success_marker, script.body, *spec.required_paths]
        texts += [] if self._has_environment else self._environment_texts
        texts += [artifact.remote for artifact in artifacts]
        texts += [Text(text=pattern, line=each.line) for each in artifacts for pattern in each.excludes]
        first = ["pod", *(["prepared"] if has_prepared else [])]
        arguments = self._arguments(*texts, first=first)
        out.add()
        out.add()
        out.add("@JOB", spec.name.line)
        out.add(f"def {self._job}({', '.join(arguments)}):", spec.name.line)
        pulls = ", and pull its results" if artifacts else ""
        out.add(f'    """Run the script of {_legible(spec.name.text)}{pulls}."""', spec.name.line)
        self._environment()
        body = self._value(script.body)
        names = {*spec.variables, *self._undeclared}
        local = next(name for name in ("script", "body", "script_", "body_") if name not in names)
        out.add(f"    {local} = {body}", script.body_line, counts="\n" in body)
        out.add(
            call("pod.write", [self._value(script.path), local], {"mode": "0o755"}, indent=4), script.line
        )
        log = f"tee {_shell(script.log.text)}"
        if _STEP_MARKER in script.body.text:  # runpod-deploy's lines for steps, as rpd's
            log += f" | sed -u {shlex.quote(_AS_MARKS)}"
        run = Text(
            text=f"set -o pipefail; bash {_shell(script.path.text)} 2>&1 < /dev/null | {log}",
            line=script.line,
        )
        out.add(
            call("pod.run", [self._value(run)], {"cwd": literal(HOME), "name": literal("run")}, indent=4),
            script.line,
        )
        marker, log = _shell(script.success_marker.text), _shell(script.log.text)
        check = Text(
            text=f"grep -qF -- {marker} {log} || {{ echo 'the success marker was not printed' >&2; exit 65; }}",
            line=script.success_marker.line,
        )
        # The exit code decides; a script that does not stop at errors is caught by its marker.
        out.add(
            call("pod.run", [self._value(check)], {"name": literal("success marker")}, indent=4),
            script.success_marker.line,
        )
        for artifact in artifacts:
            named = {"label": literal(artifact.label)}
            named |= {} if artifact.required else {"required": "False"}
            kept = [
                self._value(Text(text=made, line=artifact.line))
                for pattern in artifact.excludes
                if (made := translated(pattern))
            ]
            named |= {"exclude": _list(kept)} if kept else {}
            out.add(call("pod.pull", [self._value(artifact.remote)], named, indent=4), artifact.line)

    # --- differences ------------------------------------------------------------------------------------------------

    def _left_out(self) -> None:
        spec = self._spec
        reasons = {
            "state_file": "pods are found by the journal of their run",
            "run_id_prefix": "rpd names runs and pods; the node id contains the case",
            "budget.assumed_hourly_rate_usd": "caps hold at the real rate of the pod",
            "budget.poll_interval_sec": "output is streamed",
            "telemetry.sample_interval_sec": "the setting telemetry_interval sets it for all jobs",
            "telemetry.capture_pod_describe": "it wrote the environment of the pod, with its secrets, into a file",
            "telemetry.capture_nvidia_smi": "the manifest has GPU, driver and CUDA, metrics.jsonl its load",
            "telemetry.capture_dmesg": "a node that runs out of memory fails with the cause oom",
        }
        for key, reason in reasons.items():
            if key in spec.lines:
                self._note(spec.lines[key], key, f"left out: {reason}")
        if "ssh.key_path" in spec.lines:
            self._note(
                spec.lines["ssh.key_path"],
                "ssh.key_path",
                "left out: each run has its own key, and pods also accept the public keys in ~/.ssh",
            )
        if spec.script.failure_markers:
            self._note(
                spec.lines["run.failure_markers"],
                "run.failure_markers",
                "left out: the exit code decides whether it failed, not words in its log",
            )
        if spec.exports:
            self._note(
                spec.lines["remote_env.exports"],
                "remote_env.exports",
                "given to the script as well, which runpod-deploy does not, and to every command after the first "
                "that has with_env",
            )
        for artifact in spec.artifacts:
            self._note(
                artifact.line,
                f"artifacts {artifact.label}",
                f"lands in the node's artifacts/{artifact.label}/, not in {artifact.local.text}"
                + ("; rpd deletes no local files" if artifact.deletes else ""),
            )
        if any(secret.env for secret in spec.secrets):
            self._note(
                spec.secrets[0].line,
                "secrets[].env",
                "each variable is also in the environment of every command; in the file they are quoted and exported",
            )


def _names(texts: Iterable[Text]) -> list[str]:
    return list(dict.fromkeys(name for text in texts for name in text.names))


def _filled(text: str, values: Mapping[str, str]) -> str:
    """Return ``text`` with the templates replaced whose values are known; a ``$`` before one stays."""
    return TEMPLATE.sub(lambda match: match[1] + values[match[2]] if match[2] in values else match[0], text)


def _list(expressions: Sequence[str]) -> str:
    return f"[{', '.join(expressions)}]"


def _laid_out(name: str, expressions: Sequence[str]) -> str:
    """Return the list that is a field of the job, one entry on each line where it is too long for one."""
    single_line = _list(expressions)
    if len(f"    {name}={single_line},") <= WIDTH and "\n" not in single_line:
        return single_line
    return "[\n" + "".join(f"        {each},\n" for each in expressions) + "    ]"


def _path(expression: str) -> str:
    return f"PROJECT / {expression}"


def _sends_contents(push: Push) -> bool:
    """Return whether rsync puts the contents of a folder into the destination, rather than the folder."""
    return push.source.text.endswith(("/", "/.")) or push.source.text in (".", "..")


def _name_of(secret: Secret) -> str:
    """Return the name of a secret that is a file."""
    return f"FILE_{re.sub(r'[^A-Za-z0-9]', '_', secret.name).upper()}"


def _shell(text: str) -> str:
    """Quote a path or word for the shell; templates in it stay templates."""
    if re.fullmatch(r"[A-Za-z0-9_@%+=:,./~-]+", text):
        return text
    if TEMPLATE.search(text):
        return '"' + re.sub(r'(["`\\]|\$(?!\{))', r"\\\1", text) + '"'
    return shlex.quote(text)


def job_name(name: str) -> str:
    """Return the name of a job function for the name of a configuration."""
    words = re.sub(r"\W+", "_", TEMPLATE.sub("", name)).strip("_").lower() or "job"
    made = f"job_{words}" if words[0].isdigit() else words
    return f"{made}_job" if keyword.iskeyword(made) or made in TAKEN else made


def _legible(name: str) -> str:
    """Return a name as a docstring can have it."""
    return name.replace(chr(92), "").replace(chr(34), chr(39))
