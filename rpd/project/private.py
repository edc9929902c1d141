"""Files that hold credentials by their very name."""

from __future__ import annotations

import re

_NAMES = re.compile(
    r"\.env(?:\..*|rc)?|\.netrc|_netrc|\.pypirc|\.git-credentials|\.pgpass|\.htpasswd|\.boto|\.s3cfg|kaggle\.json"
    r"|id_(?:rsa|dsa|ecdsa|ed25519)(?:_sk)?|.*\.(?:pem|key|p12|pfx|jks|keystore|kdbx|ppk)"
    r"|(?:.*[._-])?(?:credentials?|secrets?)(?:\.(?:json|ya?ml|toml|ini|txt|env|cfg|conf))?"
    r"|service[._-]?account.*\.json|application_default_credentials\.json",
    re.IGNORECASE,
)
_HARMLESS = re.compile(r".*[._-](?:example|sample|template|dist)", re.IGNORECASE)
_FOLDERS = frozenset({".ssh", ".aws", ".gnupg", ".kube", ".azure"})


def is_private(name: str) -> bool:
    """Whether a file (``name`` with ``/``, relative to its project) is one that usually holds credentials."""
    *folders, last = name.split("/")
    if _FOLDERS.intersection(folders):
        return True
    return _NAMES.fullmatch(last) is not None and _HARMLESS.fullmatch(last) is None
