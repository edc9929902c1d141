"""The redactor masks every form of a secret, however the bytes are cut."""

import base64
import html
import itertools
import json
import re
import shlex
import threading
import urllib.parse
from xml.sax import saxutils

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rpd.redaction import NO_SECRETS, Redactor

TOKEN = 'hf_"Xy/9+z\u00e9 Q=='
PEM = "-----BEGIN KEY-----\nAAAAB3NzaC1yc2E\nshort\nzz9876543210\n-----END KEY-----\n"


def in_chunks(redactor: Redactor, data: bytes, cuts: list[int]) -> bytes:
    stream = redactor.stream()
    places = sorted({0, len(data), *(cut % (len(data) + 1) for cut in cuts)})
    out = [stream.feed(data[a:b]) for a, b in itertools.pairwise(places)]
    return b"".join([*out, stream.flush()])


@pytest.mark.parametrize(
    "form",
    [
        TOKEN,
        json.dumps(TOKEN),
        json.dumps(TOKEN, ensure_ascii=False),
        urllib.parse.quote(TOKEN),
        urllib.parse.quote(TOKEN, safe=""),
        urllib.parse.quote_plus(TOKEN),
        re.sub("%..", lambda match: match[0].lower(), urllib.parse.quote_plus(TOKEN)),
        urllib.parse.quote(TOKEN, safe="!'()*"),
        ascii(TOKEN)[1:-1],
        repr(TOKEN.encode())[2:-1],
        json.dumps(json.dumps(TOKEN)[1:-1])[1:-1],
        json.dumps(TOKEN).replace("/", "\\/"),
        json.dumps(TOKEN).replace("e9", "E9"),
        html.escape(TOKEN),
        base64.b64encode(TOKEN.encode()).decode(),
        base64.urlsafe_b64encode(TOKEN.encode()).decode(),
    ],
)
def test_every_usual_form_is_masked(form: str) -> None:
    """Plain, JSON, URL-quoted and base64 forms leave nothing of the secret but the mask."""
    masked = Redactor([TOKEN]).text(f"before {form} after")
    assert masked in ("before *** after", 'before "***" after')


ODD = "a'b\"c\\d\ne<f>&g/h"


@pytest.mark.parametrize(
    "form",
    [
        repr(ODD)[1:-1],
        repr({"key": [ODD]}),
        repr(ODD.replace("'", "")),
        repr(ODD.encode())[1:],
        repr((ODD, '"')),
        shlex.quote(ODD),
        json.dumps({"key": ODD}),
        json.dumps(ODD).replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026"),
        html.escape(ODD),
        html.escape(ODD).replace("&#x27;", "&#39;"),
        html.escape(ODD, quote=False),
        saxutils.quoteattr(ODD.replace('"', "")),
    ],
)
def test_quotes_backslashes_and_newlines_hide_nothing(form: str) -> None:
    """However a language writes a text with all that has to be escaped, no word of the secret is left."""
    redactor = Redactor([ODD, ODD.replace("'", ""), ODD.replace('"', "")])
    masked = redactor.text(form)
    assert "***" in masked
    assert not re.search(r"[bcdefgh]\W", masked.replace("key", ""))


@pytest.mark.parametrize("user", ["", "u", "us", "use", "user"])
def test_base64_of_user_and_token_hides_the_token(user: str) -> None:
    """Encoded together with something else, at any alignment, no decodable part of the secret is left."""
    token = "tok_abcdefghijklmnop"
    encoded = base64.b64encode(f"{user}:{token}:x".encode()).decode()
    masked = Redactor([token]).text(f"Authorization: Basic {encoded}")
    assert "***" in masked
    assert "YWJjZGVm" not in masked  # "abcdef" in base64 at alignment 0
    assert len(masked) < len(encoded)


def test_single_lines_of_a_multi_line_secret_are_masked() -> None:
    """A key printed with another line ending or indentation is masked line by line; very short lines are not."""
    masked = Redactor([PEM]).text("  AAAAB3NzaC1yc2E\r\n  short\r\n  zz9876543210\r\n")
    assert masked == "  ***\r\n  short\r\n  ***\r\n"


def test_a_short_secret_is_refused_with_a_warning() -> None:
    """Masking three characters would garble everything: learn says so and leaves them."""
    redactor = Redactor()
    assert "too short" in (redactor.learn("abc") or "")
    assert redactor.text("abc") == "abc"
    assert redactor.learn("") is None
    assert redactor.learn("abcd") is None


def test_overlapping_secrets_leave_no_part() -> None:
    """Of two secrets that overlap, neither beginning nor end stays."""
    assert Redactor(["abcdef", "defghi"]).text("xabcdefghix") == "x***x"


def test_data_masks_keys_values_and_bytes_and_keeps_the_rest() -> None:
    """JSON-like data keeps its shape and its numbers."""
    redactor = Redactor(["s3cret!"])
    data = {"k-s3cret!": ["s3cret!", 1, None, ("s3cret!", b"s3cret!")], "n": 2.5}
    assert redactor.data(data) == {"k-***": ["***", 1, None, ("***", b"***")], "n": 2.5}


def test_a_stream_holds_back_no_harmless_bytes() -> None:
    """Bytes that cannot begin a secret are passed on at once: logs are live."""
    stream = Redactor(["secret-token"]).stream()
    assert stream.feed(b"epoch 1\nsec") == b"epoch 1\n"
    assert stream.feed(b"onds\n") == b"seconds\n"


def test_a_stream_of_nothing_but_secrets_stays_bounded() -> None:
    """A secret that repeats for ever is neither printed nor collected in memory."""
    stream = Redactor(["aaaa"]).stream()
    out = b"".join(stream.feed(b"a" * 1000) for _ in range(50)) + stream.feed(b"b")
    assert out == b"***b"
    assert len(stream._pending) < 4


SECRETS = st.lists(st.text("ab\n+", min_size=4, max_size=9), min_size=1, max_size=3)


@given(secrets=SECRETS, data=st.binary(max_size=200), cuts=st.lists(st.integers(0, 500), max_size=8))
def test_chunks_are_masked_like_the_whole_binary(secrets: list[str], data: bytes, cuts: list[int]) -> None:
    """However arbitrary bytes are cut, the stream writes the same as masking them whole."""
    redactor = Redactor(secrets)
    assert in_chunks(redactor, data, cuts) == redactor.raw(data)


@given(
    secrets=SECRETS,
    text=st.text("ab\n+x", max_size=80),
    cuts=st.lists(st.integers(0, 500), max_size=12),
)
def test_chunks_are_masked_like_the_whole(secrets: list[str], text: str, cuts: list[int]) -> None:
    """The same with text that is full of secrets, halves of secrets and overlaps; and the text API agrees."""
    redactor = Redactor(secrets)
    whole = redactor.data(text.encode())
    assert in_chunks(redactor, text.encode(), cuts) == whole
    assert whole.decode() == redactor.text(text)
    for secret in secrets:
        assert not any(secret in part for part in redactor.text(text).split("***"))


@given(secret=st.text(st.characters(exclude_characters="*"), min_size=4), around=st.text(max_size=20))
def test_any_text_is_masked(secret: str, around: str) -> None:
    """No secret survives, whatever characters it is made of."""
    redactor = Redactor([secret])
    masked = redactor.text(f"{around}{secret}{around}")
    assert secret not in masked
    assert "***" in masked


def test_learning_while_masking_is_safe() -> None:
    """Slots mask while another thread learns; earlier secrets stay masked."""
    redactor = Redactor(["first-secret"])
    leaks: list[str] = []

    def mask() -> None:
        for _ in range(200):
            text = redactor.text("a first-secret b")
            if text != "a *** b":
                leaks.append(text)

    threads = [threading.Thread(target=mask) for _ in range(4)]
    for thread in threads:
        thread.start()
    for number in range(50):
        redactor.learn(f"another-secret-{number}")
    for thread in threads:
        thread.join()
    assert leaks == []
    assert redactor.text("another-secret-49") == "***"


def test_the_null_twin_learns_and_changes_nothing() -> None:
    """It is shared by all who meet no secret, so nothing that one of them learns may reach another."""
    assert NO_SECRETS.learn("a-long-secret") is None
    assert NO_SECRETS.text("a-long-secret") == "a-long-secret"
    assert NO_SECRETS.data({"k": [b"a-long-secret"]}) == {"k": [b"a-long-secret"]}
    stream = NO_SECRETS.stream()
    assert stream.feed(b"a-long-") + stream.feed(b"secret") + stream.flush() == b"a-long-secret"
