"""Files of keys and passwords stay here, unless somebody says that they are to be sent."""

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rpd.project import keyfiles
from rpd.project.ignore import Kind, staged_files, staging
from rpd.project.keyfiles import is_key_path, is_secret_file, secret_rules
from tests.files import write_files

PRIVATE = "-----BEGIN OPENSSH PRIVATE KEY-----"
PUBLIC = "-----BEGIN CERTIFICATE-----"


def sent(root: Path, *exclude: str) -> list[str]:
    return [file.name for file in staged_files(root, exclude) if file.kind is not Kind.FOLDER]


KEY_FILES = [
    ".env", ".env.local", ".env.production", "deep/er/.env", "prod.env", ".ENV", ".envrc", "id_rsa", "ID_RSA",
    "keys/id_ed25519", "credentials.json", "client_secret_123.json", "service-account-prod.json", ".netrc", "_netrc",
    ".pypirc", ".git-credentials", "kaggle.json", ".streamlit/secrets.toml", "a.p12", "a.PFX", "store.jks", "a.ppk",
    ".aws/credentials", ".ssh/config", ".docker/config.json", ".kube/config", ".runpod/config.toml",
    "app/.env.production", "gcp/service-account-prod.json", "aws_credentials", "db-secrets.yaml", "id_ed25519_sk", ".boto",
    ".npmrc", ".s3cfg", "application_default_credentials.json", "My.Credentials.JSON", "a.kdbx",
]  # fmt: skip
OTHER_FILES = [
    ".env.example", ".env.sample", ".env.defaults", "env.py", "environment.yml", "id_rsa.pub", "tokenizer.json",
    "token_counts.json", "keys.py", "credentials.py", "aws/x", "ssh/y", "secrets.py", "my.environment",
    "secrets.yaml.template",
]  # fmt: skip


@pytest.mark.parametrize("name", KEY_FILES)
def test_key_files_are_withheld(tmp_path: Path, name: str) -> None:
    """They are left out and named, also where git tracks them or no repository is there."""
    staged = staging(write_files(tmp_path, {name: "x", "train.py": ""}))
    assert [file.name for file in staged.files if file.kind is Kind.FILE] == ["train.py"]
    assert len(staged.withheld) == 1
    assert name.startswith(staged.withheld[0])


@pytest.mark.parametrize("name", OTHER_FILES)
def test_other_files_are_sent(tmp_path: Path, name: str) -> None:
    """Names that only look like them are not concerned."""
    assert sent(write_files(tmp_path, {name: "x"})) == [name]


@pytest.mark.parametrize(
    ("names", "expected"), [(KEY_FILES, True), (["tls.key", "x/a.PEM"], True), (OTHER_FILES, False)]
)
def test_uploads_and_diffs_know_the_same_names(names: list[str], expected: bool) -> None:
    """A diff leaves out the same names as an upload; it never reads a .pem or .key file."""
    assert [name for name in names if is_key_path(name) is not expected] == []


@settings(max_examples=40)
@given(name=st.from_regex(keyfiles._NAMES, fullmatch=True) | st.from_regex(keyfiles._MAYBE, fullmatch=True))
def test_every_name_of_a_key_file_is_looked_at(name: str) -> None:
    """The quick look at how a name ends passes over none of them, in capitals and odd letters either."""
    if "/" not in name and "\0" not in name and not keyfiles._HARMLESS.fullmatch(name):
        assert keyfiles.is_key_file(name, "/nowhere/to be read")


@pytest.mark.parametrize("name", ["a.pem", "a.key"])
def test_what_a_pem_file_holds_decides(tmp_path: Path, name: str) -> None:
    """A certificate is sent, a private key is not."""
    assert sent(write_files(tmp_path, {name: PUBLIC})) == [name]
    assert sent(write_files(tmp_path, {name: f"{PUBLIC}\n{PRIVATE}"})) == []


@pytest.mark.parametrize("rules", [".rpdignore", ".gitignore"])
def test_a_rule_sends_one(tmp_path: Path, rules: str) -> None:
    """``!NAME`` in a file of rules includes it, and the others stay."""
    files = {".env": "x", "conf/.env": "x", ".aws/credentials": "x", rules: "!/.env\n!.aws/\n"}
    assert sent(write_files(tmp_path, files)) == [".aws/credentials", ".env", rules]
    assert sent(tmp_path, "!.env") == [".aws/credentials", ".env", rules, "conf/.env"]
    assert sent(tmp_path, ".env") == [".aws/credentials", rules]


def test_what_is_ignored_is_not_told_of(tmp_path: Path) -> None:
    """Who ignores it knows that it stays."""
    assert staging(write_files(tmp_path, {".env": "x", ".gitignore": ".env\n"})).withheld == ()


def test_what_is_named_itself_is_sent(tmp_path: Path) -> None:
    """``pod.put(".env")`` and ``pod.put(".aws")`` mean it; so do links, which carry nothing."""
    write_files(tmp_path, {".env": "x", ".aws/credentials": "y", "elsewhere": "z", "p/q": ""})
    assert [file.name for file in staged_files(tmp_path / ".env")] == [".env"]
    assert sent(tmp_path / ".aws") == ["credentials"]
    assert sent(write_files(tmp_path / ".ssh", {"id_rsa": "x", "config": ""})) == ["config", "id_rsa"]
    (tmp_path / "p/.env").symlink_to("../elsewhere")
    assert sent(tmp_path / "p") == [".env", "q"]


@pytest.mark.parametrize(
    "name", ["token.txt", "a b/t [1].txt", "#t", "!t", "t*", "back\\slash", " t ", "ünï"]
)
def test_the_file_of_a_secret_is_left_out(tmp_path: Path, name: str) -> None:
    """Whatever it is called, wherever it lies, and whatever other rules say."""
    root = write_files(tmp_path / "p", {name: "hush", "train.py": "", "t": "", ".rpdignore": "!*\n"})
    rules = secret_rules(root, [root / name, tmp_path / "elsewhere"])
    assert sent(root, *rules) == [".rpdignore", "t", "train.py"]
    assert is_secret_file(root / name, [root / name])


def test_a_secret_behind_a_link_is_left_out(tmp_path: Path) -> None:
    """The file it leads to is, also where the folder itself is reached by a link."""
    root = write_files(tmp_path / "p", {"real/token": "hush", "train.py": ""})
    (root / "token").symlink_to("real/token")
    (tmp_path / "way").symlink_to("p")
    for folder in (root, tmp_path / "way"):
        assert sent(folder, *secret_rules(folder, [root / "token"])) == ["train.py"]
        assert "real/token" not in sent(folder, *secret_rules(folder, [tmp_path / "way/token"]))
