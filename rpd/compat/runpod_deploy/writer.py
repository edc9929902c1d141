"""From a configuration to the deploy file that does the same; collecting a YAML runs this very text."""

from __future__ import annotations

import keyword
import os
import posixpath
import re
import shlex
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from rpd.compat.runpod_deploy.excludes import translated
from rpd.compat.runpod_deploy.python_text import Lines, call, listed, literal, template
from rpd.compat.runpod_deploy.spec import BUILT_IN, TEMPLATE, Command, Push, Secret, Spec, Text, texts_of
from rpd.errors import CollectionError

HOME = "/root"
"""Where runpod-deploy's commands begin: it logs in over SSH. rpd's begin at the mount."""
_BUILT_IN_VALUES = {
    "config_dir": "HERE",
    "project_root": "PROJECT",
    "run_dir": "run_dir",
    "run_id": "run_dir.parent.name",
}
"""Names that templates use without declaring them, and where a deploy file has their values from."""
TAKEN = frozenset(
    {
        *("gpu", "pod", "project_dir", "provision", "record_metric", "request", "run_dir", "staged_dir"),
        *("tmp_path", "variables", "prepared", "remote_env", "required_paths"),
        *(
            "rpd",
            "os",
            "Path",
            "HERE",
            "PROJECT",
            "ENV",
            "JOB",
            "Budget",
            "Gpu",
            "Lifecycle",
            "Secret",
            "Storage",
        ),
        *("script", "log"),
    }
)
"""Names of rpd's fixtures and of the file that is written; a variable of such a name would hide it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Notice:
    """What a deploy file does otherwise than its configuration, or leaves out, and why."""

    line: int
    key: str
    text: str

    def __str__(self) -> str:
        return f"line {self.line}: {self.key}: {self.text}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Written:
    """A deploy file: its lines (with the lines of the configuration they come from), its job, and what is different."""

    lines: Lines
    job: str
    notices: tuple[Notice, ...]


def write(spec: Spec, *, folder: Path | None = None) -> Written:
    """Return the deploy file for ``spec``, to be put into ``folder`` (default: beside the configuration).

    Raises CollectionError for names that cannot be those of a deploy file.
    """
    return _Writer(spec, folder or spec.path.parent).written()


class _Writer:
    """Writes one file."""

    def __init__(self, spec: Spec, folder: Path) -> None:
        self._spec = spec
        self._folder = folder
        self._out = Lines()
        self._notices: list[Notice] = []
        self._job = _identifier(spec.name.text)
        used = {name for text in texts_of(spec) for name in text.names if name not in BUILT_IN}
        self._undeclared = sorted(used - spec.variables.keys())
        self._env = bool(spec.exports)
        self._env_names = _names(spec.exports.values())

    def written(self) -> Written:
        self._check_names()
        self._head()
        self._variables()
        self._job_value()
        self._required_paths()
        self._remote_env()
        self._prepared()
        self._function()
        self._left_out()
        return Written(lines=self._out, job=self._job, notices=tuple(self._notices))

    # --- values -----------------------------------------------------------------------------------------------------

    def _check_names(self) -> None:
        spec = self._spec
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
        """Return the Python expression of a text; what its templates name is known when the function runs."""
        spec = self._spec
        constants = {
            "job_name": TEMPLATE.sub("", spec.name.text).strip("-_. ") or self._job,
            "volume_mount": spec.storage.mount,
        }
        known = TEMPLATE.sub(
            lambda match: match[1] + constants[match[2]] if match[2] in constants else match[0], text.text
        )
        return template(known, TEMPLATE, lambda name: _BUILT_IN_VALUES.get(name, name))

    def _arguments(self, *texts: Text, with_env: bool = False, first: Sequence[str] = ()) -> list[str]:
        """Return the fixtures that a function with these texts has to ask for."""
        names = _names(texts)
        built_in = ["run_dir"] if {"run_dir", "run_id"} & {*names} else []
        own = [name for name in names if name not in BUILT_IN]
        env = ["remote_env"] if with_env and self._env_names else []
        return [*first, *built_in, *env, *own]

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
        root = os.path.normpath(spec.path.parent / Path(spec.project_root.text).expanduser())
        relative = os.path.relpath(root, self._folder).replace(os.sep, "/")
        place = "HERE" if relative == "." else f"(HERE / {literal(relative)}).resolve()"
        out.add(f"PROJECT = {place}", spec.project_root.line)
        if self._env and not self._env_names:
            self._constant_env()

    def _constant_env(self) -> None:
        spec, out = self._spec, self._out
        out.add("ENV = {", next(iter(spec.exports.values())).line)
        for name, text in spec.exports.items():
            out.add(f"    {literal(name)}: {literal(text.text)},", text.line)
        out.add("}")

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
            out.add(f"{name} = rpd.variable()", spec.name.line)
        for name, text in spec.variables.items():
            if text.names:
                out.add()
                out.add()
                out.add("@rpd.fixture", text.line)
                asks = self._arguments(text, first=["variables"])
                out.add(f"def {name}({', '.join(asks)}):", text.line)
                out.add(
                    f'    """A variable made of others; --var {name}=… still has the last word."""', text.line
                )
                out.add(f"    return variables.get({literal(name)}, {self._value(text)})", text.line)

    def _job_value(self) -> None:
        spec, out = self._spec, self._out
        pod, storage = spec.pod, spec.storage
        gpu_named = {"count": str(pod.gpu_count)} if pod.gpu_count != 1 else {}
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
        elif len(pod.gpu_order) > 1 and len(pod.datacenters) > 1:
            self._note(
                pod.line,
                "pod.gpu_order",
                "rpd tries GPU by GPU, each in every data centre; runpod-deploy tried data centre by data centre",
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
        secrets = [
            self._secret_value(secret, name) for secret in spec.secrets for name in _variables_of(secret)
        ]
        fields |= {"secrets": f"[{', '.join(secrets)}]"} if secrets else {}
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
                spec.name.line,
                "lifecycle.on_failure",
                "stop keeps a failed pod's volume, which goes on billing; `--keep-failed 2h` keeps the whole pod and "
                "ends it by itself",
            )

    def _image(self) -> str:
        """Return the image; a template in it is filled in now, since a job is made before variables are known."""
        text = self._spec.pod.image
        if not text.names:
            return literal(text.text)
        defaults = {name: value.text for name, value in self._spec.variables.items() if not value.names}
        for name in text.names:
            if name not in defaults:
                raise CollectionError(
                    f"{self._spec.path.name}:{text.line}: pod.image: {{{name}}} has no default, and an image is chosen "
                    "before --var is; write the image itself",
                    file=str(self._spec.path),
                    line=text.line,
                )
        self._note(
            text.line,
            "pod.image",
            "its templates are filled in with their defaults; --var does not change it",
        )
        return literal(TEMPLATE.sub(lambda match: match[1] + defaults[match[2]], text.text))

    def _budget(self) -> str:
        budget = self._spec.budget
        named = {"cost_cap_usd": f"{budget.cost_cap_usd:g}"}
        if budget.max_runtime_minutes is not None:
            named["max_runtime"] = literal(f"{budget.max_runtime_minutes}m")
            assumed = budget.assumed_rate_usd_per_hr * budget.max_runtime_minutes / 60
            if assumed > budget.cost_cap_usd:
                self._note(
                    self._spec.name.line,
                    "budget",
                    f"{budget.max_runtime_minutes} minutes at the assumed ${budget.assumed_rate_usd_per_hr:g}/h are "
                    f"${assumed:.2f}, more than cost_cap_usd: runpod-deploy refuses this run; rpd ends it at the cap",
                )
        if budget.ssh_ready_seconds != 900:
            named["ssh_ready_timeout"] = literal(f"{budget.ssh_ready_seconds}s")
        return call("Budget", (), named)

    def _secret_value(self, secret: Secret, name: str) -> str:
        if secret.file is None:
            return call("Secret", [literal(name)])
        return call("Secret", [literal(name)], {"file": literal(secret.file.text)})

    def _required_paths(self) -> None:
        spec, out = self._spec, self._out
        if not spec.required_paths:
            return
        first = spec.required_paths[0].line
        out.add()
        out.add()
        out.add("@rpd.fixture(autouse=True)", first)
        out.add(f"def required_paths({', '.join(self._arguments(*spec.required_paths))}):", first)
        out.add('    """What has to be here before a pod is rented."""', first)
        paths = [self._value(text) for text in spec.required_paths]
        out.add(f"    for path in ({', '.join(paths)}{',' if len(paths) == 1 else ''}):", first)
        out.add("        if not (PROJECT / path).exists():", first)
        out.add('            rpd.fail(f"{PROJECT / path} is missing")', first)

    def _remote_env(self) -> None:
        spec, out = self._spec, self._out
        if not self._env_names:
            return
        texts = [*spec.exports.values()]
        out.add()
        out.add()
        out.add("@rpd.fixture", texts[0].line)
        out.add(f"def remote_env({', '.join(self._arguments(*texts))}):", texts[0].line)
        out.add('    """The environment of the commands."""', texts[0].line)
        out.add("    return {", texts[0].line)
        for name, text in spec.exports.items():
            out.add(f"        {literal(name)}: {self._value(text)},", text.line)
        out.add("    }")

    def _prepared(self) -> None:
        spec, out = self._spec, self._out
        commands = (*spec.setup, *spec.preflight)
        if not (commands or spec.secrets or spec.staging or spec.pod.python_version):
            return
        texts = [
            *(command.command for command in commands),
            *(secret.destination for secret in spec.secrets),
            *(text for push in spec.staging for text in (push.source, push.destination)),
            *(spec.source_files if any(command.with_env for command in commands) else ()),
        ]
        with_env = any(command.with_env for command in commands)
        line = spec.name.line
        out.add()
        out.add()
        out.add("@rpd.fixture", line)
        out.add(
            f"def prepared({', '.join(self._arguments(*texts, with_env=with_env, first=['pod']))}):", line
        )
        out.add(
            '    """Everything before the script. The time that `max_runtime` allows begins after it."""',
            line,
        )
        for number, command in enumerate(spec.setup):
            self._command(command, f"setup[{number}]")
        for secret in spec.secrets:
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
        named = {"cwd": literal(HOME)}
        named |= {"env": self._env_name} if command.with_env and self._env else {}
        named |= {"timeout": str(command.seconds), "name": literal(name)}
        text = self._sourced(command.command) if command.with_env else command.command
        self._out.add(call("pod.run", [self._value(text)], named, indent=4), command.command.line)

    @property
    def _env_name(self) -> str:
        return "remote_env" if self._env_names else "ENV"

    def _sourced(self, text: Text) -> Text:
        """Return a command after the files that it wants sourced. A broken one fails it, a missing one does not."""
        files = [
            f"[ ! -f {_shell(each.text)} ] || . {_shell(each.text)}; " for each in self._spec.source_files
        ]
        return Text(text="".join(files) + text.text, line=text.line, key=text.key)

    def _place_secret(self, secret: Secret) -> None:
        """Write the file from the environment of a command: the value is in no argument and no request."""
        target = _shell(secret.destination.text)
        names = _variables_of(secret)
        # Exported and quoted, so that a script can source the file whatever is in the values.
        content = (
            f'printf %s "${names[0]}"'
            if secret.file
            else "; ".join(f"printf 'export %s=%q\\n' {name} \"${name}\"" for name in names)
        )
        text = Text(
            text=f"umask 077; mkdir -p {_shell(posixpath.dirname(secret.destination.text) or '/')}; "
            f"{{ {content}; }} > {target}; chmod {secret.mode:o} {target}",
            line=secret.line,
        )
        named = {"name": literal(f"secret {secret.name}")}
        self._out.add(call("pod.run", [self._value(text)], named, indent=4), secret.line)

    def _push(self, push: Push) -> None:
        excludes = [translated(pattern) for pattern in push.excludes]
        for pattern, made in zip(push.excludes, excludes, strict=True):
            if made is None:
                self._note(
                    push.line,
                    "staging[].excludes",
                    f"{pattern!r} is a filter of rsync's that rpd lacks: dropped",
                )
        target = Text(text=self._target_of(push), line=push.destination.line, key=push.destination.key)
        named = {"exclude": listed(kept)} if (kept := [made for made in excludes if made]) else {}
        source = push.source.text.rstrip("/") or "/"
        place = (
            "PROJECT"
            if source == "."
            else f"PROJECT / {self._value(Text(text=source, line=push.source.line))}"
        )
        if source.startswith(("/", "~", "{")):
            place = self._value(Text(text=str(Path(source).expanduser()), line=push.source.line))
        self._out.add(call("pod.put", [place, self._value(target)], named, indent=4), push.line)
        if not push.delete:
            self._note(
                push.line,
                f"staging {push.label}",
                "delete: false has no counterpart: what stands at the destination is replaced as a whole",
            )

    def _target_of(self, push: Push) -> str:
        """Return where the source itself lands: without a slash at its end rsync puts it *into* the destination."""
        destination = push.destination.text.rstrip("/") or "/"
        source = push.source.text
        if source.endswith(("/", "/.")) or source in (".", ".."):
            return destination
        here = self._spec.path.parent / self._spec.project_root.text / source
        if here.is_file() and not push.destination.text.endswith("/"):
            return destination
        return posixpath.join(destination, posixpath.basename(source))

    def _python_pin(self) -> None:
        version = self._spec.pod.python_version
        if version is None:
            return
        place = self._target_of(self._spec.staging[0]) if self._spec.staging else HOME
        command = f"uv python install {version} && cd {_shell(place)} && uv python pin {version}"
        text = Text(text=command, line=self._spec.pod.line)
        named = {"timeout": "300", "name": literal("python pin")}
        self._out.add(call("pod.run", [self._value(text)], named, indent=4), self._spec.pod.line)

    def _function(self) -> None:
        spec, out = self._spec, self._out
        script, artifacts = spec.script, spec.artifacts
        has_prepared = "def prepared(" in str(out)
        texts = [script.path, script.log, script.success_marker, script.body, *spec.source_files]
        texts += [artifact.remote for artifact in artifacts]
        first = ["pod", *(["prepared"] if has_prepared else [])]
        arguments = self._arguments(*texts, with_env=True, first=first)
        out.add()
        out.add()
        out.add("@JOB", spec.name.line)
        out.add(f"def {self._job}({', '.join(arguments)}):", spec.name.line)
        out.add(f'    """{_sentence(spec.name.text)}"""', spec.name.line)
        body = self._value(script.body)
        out.add(f"    script = {body}", script.body_line, counts="\n" in body)
        out.add(
            call("pod.write", [self._value(script.path), "script"], {"mode": "0o755"}, indent=4), script.line
        )
        inner = f"bash {_shell(script.path.text)} 2>&1 < /dev/null | tee {_shell(script.log.text)}"
        run = self._sourced(Text(text=f"set -o pipefail; {inner}", line=script.line))
        named = {
            "cwd": literal(HOME),
            **({"env": self._env_name} if self._env else {}),
            "name": literal("run"),
        }
        out.add(call("pod.run", [self._value(run)], named, indent=4), script.line)
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
            named = {} if artifact.required else {"required": "False"}
            kept = [made for pattern in artifact.excludes if (made := translated(pattern))]
            named |= {"exclude": listed(kept)} if kept else {}
            remote, label = self._value(artifact.remote), literal(f"{artifact.label}/")
            out.add(call("pod.pull", [remote, label], named, indent=4), artifact.line)

    # --- what is different ------------------------------------------------------------------------------------------

    def _left_out(self) -> None:
        spec = self._spec
        reasons = {
            "state_file": "pods are found by the journal of their run",
            "run_id_prefix": "runs and pods are named by rpd; the case stands in the node id",
            "budget.assumed_hourly_rate_usd": "caps hold at the real rate of the pod",
            "budget.poll_interval_sec": "output is streamed",
        }
        for key in spec.dropped:
            self._note(spec.name.line, key, f"left out: {reasons[key]}")
        if spec.key_path is not None:
            self._note(
                spec.name.line,
                "ssh.key_path",
                "left out: each run has a key of its own, and the public keys in ~/.ssh are let in as well",
            )
        if spec.script.failure_markers:
            self._note(
                spec.script.line,
                "run.failure_markers",
                "left out: the exit code says whether it failed, not words in its log",
            )
        if spec.exports:
            self._note(
                spec.script.line,
                "remote_env.exports",
                "given to the script as well, which runpod-deploy does not",
            )
        for artifact in spec.artifacts:
            self._note(
                artifact.line,
                f"artifacts {artifact.label}",
                f"lands in the node's artifacts/{artifact.label}/, not in {artifact.local.text}"
                + ("; nothing local is deleted" if artifact.deletes else ""),
            )
        for push in spec.staging:
            self._note(
                push.line,
                f"staging {push.label}",
                "what git ignores is not sent; a folder named itself (`data/`) is",
            )


def _names(texts: Iterable[Text]) -> list[str]:
    return list(dict.fromkeys(name for text in texts for name in text.names))


def _variables_of(secret: Secret) -> tuple[str, ...]:
    """Return the environment variables that a secret travels in."""
    if secret.file is None:
        return secret.env
    return (f"RPD_FILE_{re.sub(r'[^A-Za-z0-9]', '_', secret.name).upper()}",)


def _shell(text: str) -> str:
    """Quote a path or word for the shell; templates in it stay templates."""
    if re.fullmatch(r"[A-Za-z0-9_@%+=:,./{}~-]+", text):
        return text
    if TEMPLATE.search(text):
        return '"' + re.sub(r'(["`\\]|\$(?!\{))', r"\\\1", text) + '"'
    return shlex.quote(text)


def _identifier(name: str) -> str:
    """Return the name of a job function for the name of a configuration."""
    words = re.sub(r"\W+", "_", TEMPLATE.sub("", name)).strip("_").lower() or "job"
    made = f"job_{words}" if words[0].isdigit() else words
    return f"{made}_job" if keyword.iskeyword(made) or made in TAKEN else made


def _sentence(name: str) -> str:
    return f"What {name.replace(chr(92), '').replace(chr(34), chr(39))} does."
