"""The fields of a configuration, and the errors for others: line, key, expected value."""

from __future__ import annotations

from pathlib import Path

import pytest

from rpd.compat.runpod_deploy.spec import looks_like_one, read_spec
from rpd.compat.runpod_deploy.writer import write
from rpd.errors import CollectionError

MINIMAL = (Path(__file__).parent / "configs" / "minimal.yaml").read_text()

WRONG = {
    "version 1": ("schema_version: 2", "schema_version: 1", "x.yaml:1: schema_version: expected 2"),
    "version 3": ("schema_version: 2", "schema_version: 3", "that of a runpod-deploy newer than 0.8"),
    "no version": ("schema_version: 2\n", "", "schema_version: is missing"),
    "unknown key": ("name: minimal", "name: minimal\nstagging: []", "x.yaml:3: stagging: unknown key; did you mean staging?"),
    "nested key": ("  image:", "  imagee: x\n  image:", "x.yaml:4: pod.imagee: unknown key; did you mean image?"),
    "twice": ("name: minimal", "name: minimal\nname: other", "x.yaml:3: name: the key appears twice"),
    "number as text": ("name: minimal", "name: 12", 'x.yaml:2: name: expected a string, got \'12\'; write it in quotes: "12"'),
    "text as number": ("volume_gb: 20", "volume_gb: twenty", "storage.volume_gb: expected a whole number >= 1, got 'twenty'"),
    "true as number": ("volume_gb: 20", "volume_gb: true", "expected a whole number >= 1"),
    "list as text": ("name: minimal", "name: [a]", "name: expected a string, got a list"),
    "text as list": ("datacenters: [EU-RO-1]", "datacenters: EU-RO-1", "pod.datacenters: expected a list"),
    "empty list": ("datacenters: [EU-RO-1]", "datacenters: []", "pod.datacenters: expected at least one entry"),
    "cloud": ("  image:", "  cloud_type: private\n  image:", "pod.cloud_type: expected SECURE or COMMUNITY, got 'private'"),
    "python": ("  image:", '  python_version: "3.13rc1"\n  image:', "pod.python_version: expected a version"),
    "mode": ("mode: ephemeral", "mode: ram", "storage.mode: expected network_volume or ephemeral, got 'ram'"),
    "volume": ("mode: ephemeral", "mode: network_volume", "storage.mode: a network_volume needs volume_name"),
    "no pod": ("pod:", "ssh:", "x.yaml:1: pod: is missing"),
    "relative script": ("/workspace/run.sh", "run.sh", "run.script_path: expected an absolute path on the pod"),
    "failure markers": ("  success_marker: DONE", "  success_marker: DONE\n  failure_markers: []", "run.failure_markers: an empty list made every"),
    "recycle": ("name: minimal", "name: minimal\nlifecycle: {on_failure: recycle}", "lifecycle.on_failure: the pod of a failed run is never used again"),
    "lifecycle": ("name: minimal", "name: minimal\nlifecycle: {on_success: keep}", "expected one of preserve, stop, delete, recycle"),
    "shell braces": ("echo working", "cd ${HOME}", "x.yaml:13: run.body: ${HOME} is read as the variable HOME, which is not declared; write $HOME"),
    "keyword": ("echo working", "echo {class}", "{class} is a Python keyword"),
    "own name": ("name: minimal", "name: minimal\nvariables: {run_dir: x}", "variables.run_dir: runpod-deploy reserves this name"),
    "fixture": ("name: minimal", "name: minimal\nvariables: {pod: x}", "x.yaml:3: variables.pod: this name is taken in rpd"),
    "variable": ("name: minimal", "name: minimal\nvariables: {a-b: x}", "variables.a-b: expected the name of a variable"),
    "number variable": ("name: minimal", "name: minimal\nvariables: {lr: 0.1}", 'variables.lr: expected a string, got \'0.1\'; write it in quotes: "0.1"'),
    "secret": ("name: minimal", "name: minimal\nsecrets: [{name: x, destination: /x}]", "secrets[0]: expected either env or file"),
    "secret mode": ("name: minimal", "name: minimal\nsecrets: [{name: x, destination: /x, env: [A], mode: rw}]", "secrets[0].mode: expected an octal mode"),
    "label": ("name: minimal", "name: minimal\nartifacts: [{label: ../x, remote_path: /x, local_path: x}]", "artifacts[0].label: expected the name of a folder"),
    "stop": ("name: minimal", "name: minimal\nstop: {}", "stop: unknown key"),
    "no yaml": ("name: minimal", "name: [", "not valid YAML"),
    "tag": ("name: minimal", "name: !!python/object:os.system x", "name: expected a string"),
    "null": ("name: minimal", "name:", "name: expected a string, got None"),
}  # fmt: skip


@pytest.mark.parametrize("case", WRONG, ids=list(WRONG))
def test_a_mistake_is_told_with_its_line_and_key(case: str, tmp_path: Path) -> None:
    before, after, said = WRONG[case]
    assert before in MINIMAL
    path = tmp_path / "x.yaml"
    path.write_text(MINIMAL.replace(before, after, 1))
    with pytest.raises(CollectionError) as caught:
        write(read_spec(path))
    assert said in str(caught.value)
    assert caught.value.file == str(path)
    assert caught.value.line >= 1


def test_all_mistakes_are_told_at_once(tmp_path: Path) -> None:
    path = tmp_path / "x.yaml"
    path.write_text(MINIMAL.replace("volume_gb: 20", "volume_gb: 0").replace("name: minimal", "name: 1"))
    with pytest.raises(CollectionError) as caught:
        read_spec(path)
    assert len(str(caught.value).splitlines()) == 2


@pytest.mark.parametrize(
    "text",
    ["", "- a\n", "a: &a [*a]\n", "x: " + "[" * 5000, "\0", "a: b: c", "\ufeff" + MINIMAL[:20], "schema_version: 2\nrun: 1\npod: 1\n"],
    ids=["empty", "list", "ring", "deep", "nul", "colon", "cut", "scalars"],
)  # fmt: skip
def test_odd_documents_are_one_error(text: str, tmp_path: Path) -> None:
    path = tmp_path / "x.yaml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(CollectionError, match=r"x\.yaml"):
        read_spec(path)


def test_bytes_that_are_no_text_are_one_error(tmp_path: Path) -> None:
    path = tmp_path / "x.yaml"
    path.write_bytes(b"name: \xff\xfe")
    with pytest.raises(CollectionError, match="not valid YAML"):
        read_spec(path)


def test_merge_keys_and_anchors_are_read_as_yaml_reads_them(tmp_path: Path) -> None:
    path = tmp_path / "x.yaml"
    run = MINIMAL[MINIMAL.index("run:\n") :].replace(
        "run:\n", "run:\n  <<: {script_path: /a, log_path: /b}\n"
    )
    run = "\n".join(line for line in run.splitlines() if not line.startswith(("  script_path", "  log_path")))
    path.write_text(MINIMAL[: MINIMAL.index("run:\n")] + run)
    assert read_spec(path).script.path.text == "/a"


@pytest.mark.parametrize(
    ("text", "is_one"), [(MINIMAL, True), ("\ufeff" + MINIMAL, True), ("services: {}\n", False), ("", False)]
)
def test_other_yaml_is_told_apart(text: str, is_one: bool, tmp_path: Path) -> None:
    path = tmp_path / "x.yaml"
    path.write_text(text, encoding="utf-8")
    assert looks_like_one(path) is is_one
