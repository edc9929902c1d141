"""The logs of ranks: each whole in its own file, and line by line in the node's, secrets masked however they are cut."""

from __future__ import annotations

from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from rpd.cluster.rank_logs import RankLogs
from rpd.redaction import Redactor

SECRET = "hunter2-hunter2"
lines = st.lists(st.sampled_from(["epoch 1", SECRET, f"key={SECRET}!", "", "näh"]), max_size=5)
outputs = st.builds(lambda many, end: "\n".join(many) + end, lines, st.sampled_from(["", "\n"]))


@given(texts=st.tuples(outputs, outputs), data=st.data())
def test_lines_come_whole_and_masked(texts: tuple[str, str], data: st.DataObject) -> None:
    """Whatever is cut where, and whichever rank comes when: no line is torn, no secret is shown."""
    log: list[bytes] = []
    logs = RankLogs(None, 2, redactor=Redactor([SECRET]), write=log.append, failed=lambda *_: None)
    left = [text.encode() for text in texts]
    while any(left):
        rank = data.draw(st.sampled_from([place for place in range(2) if left[place]]))
        count = data.draw(st.integers(1, len(left[rank])))
        logs.of(rank)(left[rank][:count])
        left[rank] = left[rank][count:]
    logs.close()
    found = b"".join(log).decode()
    assert SECRET not in found
    for rank, text in enumerate(texts):
        prefix = f"[rank {rank}] "
        own = [line.removeprefix(prefix) for line in found.splitlines() if line.startswith(prefix)]
        assert own == text.replace(SECRET, "***").removesuffix("\n").split("\n")[: len(own)]
        assert len(own) == len(text.removesuffix("\n").split("\n")) if text else not own


def test_a_command_that_is_followed_again_is_there_once(tmp_path: Path) -> None:
    """A command that is followed again replaces the output that a killed driver had written of it.

    Earlier output stays.
    """
    for key, texts in (("a", [b"one\n"]), ("b", [b"two\nthr"]), ("b", [b"two\nthree\n"])):
        logs = RankLogs(tmp_path, 1, redactor=Redactor(), write=lambda _data: None, failed=lambda *_: None)
        logs.begin(key)
        for text in texts:
            logs.of(0)(text)
        logs.close()
    assert (tmp_path / "rank-0.log").read_bytes() == b"one\ntwo\nthree\n"


def test_each_rank_has_a_file(tmp_path: Path) -> None:
    """A file holds the output of its rank, progress bars and all; a full disk costs no output on the screen."""
    failures: list[Path] = []
    log: list[bytes] = []
    logs = RankLogs(
        tmp_path, 2, redactor=Redactor(), write=log.append, failed=lambda path, *_: failures.append(path)
    )
    (tmp_path / "rank-1.log").mkdir()
    logs.of(0)(b"10%\r20%")
    logs.of(1)(b"all the same\n")
    logs.close()
    assert (tmp_path / "rank-0.log").read_bytes() == b"10%\r20%"
    assert failures == [tmp_path / "rank-1.log"]
    assert sorted(log) == [b"[rank 0] 10%\r20%\n", b"[rank 1] all the same\n"]
