"""Headers read without ``tarfile`` give the same values as with it."""

from __future__ import annotations

import tarfile

from hypothesis import given
from hypothesis import strategies as st

from rpd.remote.transfer.untar import _plain_file

names = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), min_size=1, max_size=120)
infos = st.builds(
    lambda name, size, mode, mtime, kind: (name, size, mode, mtime, kind),
    names,
    st.integers(0, 1 << 34),
    st.integers(0, 0o7777),
    st.integers(-5, 1 << 34),
    st.sampled_from([tarfile.REGTYPE, tarfile.AREGTYPE, tarfile.DIRTYPE, tarfile.LNKTYPE, tarfile.CONTTYPE]),
)


@given(
    infos,
    st.sampled_from([tarfile.GNU_FORMAT, tarfile.USTAR_FORMAT, tarfile.PAX_FORMAT]),
    st.none() | st.tuples(st.integers(0, 511), st.integers(0, 255)),
    st.booleans(),
)
def test_plain_headers_are_what_tarfile_reads(
    given_: tuple[str, int, int, int, bytes], form: int, damage: tuple[int, int] | None, mended: bool
) -> None:
    """Whatever the header, and whichever byte of it is another: it is left to tarfile, or says the same."""
    info = tarfile.TarInfo(given_[0])
    _, info.size, info.mode, info.mtime, info.type = given_
    try:
        block = bytearray(info.tobuf(form, "utf-8", "surrogateescape")[-512:])
    except ValueError:  # a name that ustar cannot hold
        return
    if damage is not None:
        block[damage[0]] = damage[1]
        if mended:
            total = sum(block[:148]) + 256 + sum(block[156:])
            block[148:156] = b"%06o\0 " % total
    member = _plain_file(bytes(block), {})
    if member is None:
        return
    try:
        theirs = tarfile.TarInfo.frombuf(bytes(block), "utf-8", "surrogateescape")
    except tarfile.HeaderError:  # an owner or a device that is no number: neither is used
        assert damage is not None
        assert 108 <= damage[0] < 124 or 329 <= damage[0] < 345
        return
    assert theirs.type == tarfile.REGTYPE
    assert (member.name, member.size, member.mode) == (theirs.name, theirs.size, theirs.mode)
    assert member.mtime == min(int(theirs.mtime), 1 << 33)


def test_the_usual_header_needs_no_tarfile() -> None:
    """The header that GNU tar and busybox write for a file of a sweep; a longer name comes with the header before."""
    info = tarfile.TarInfo("./out/curve.csv")
    info.size, info.mtime = 480, 1_700_000_000
    for form in (tarfile.GNU_FORMAT, tarfile.USTAR_FORMAT):
        member = _plain_file(info.tobuf(form), {})
        assert member is not None
        assert (member.name, member.size, member.mode) == ("./out/curve.csv", 480, 0o644)
    member = _plain_file(info.tobuf(tarfile.GNU_FORMAT), {"path": "long", "size": "7"})
    assert member is not None
    assert (member.name, member.size) == ("long", 7)
