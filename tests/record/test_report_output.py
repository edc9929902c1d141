"""Targets of a report: files are replaced whole, everything else is written to and stays the same."""

import os
import pty
import socket
import stat
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from rpd.record import report_output
from rpd.record.report_output import write_report

LONG = "ä" * 200_000


def test_a_file_is_replaced_whole(tmp_path: Path) -> None:
    """Its folder holds nothing else afterwards."""
    path = tmp_path / "report"
    path.write_text("old")
    before = path.stat().st_ino
    assert write_report(path, LONG) is True
    assert path.read_text() == LONG
    assert path.stat().st_ino != before
    assert list(tmp_path.iterdir()) == [path]


def test_a_link_stays_a_link(tmp_path: Path) -> None:
    """The file it leads to becomes the report, even if it did not exist."""
    (tmp_path / "real").mkdir()
    (tmp_path / "first").symlink_to("second")
    (tmp_path / "second").symlink_to("real/report")
    for text in ("one", "two"):
        write_report(tmp_path / "first", text)
        assert (tmp_path / "real/report").read_text() == text
        assert not (tmp_path / "real/report").is_symlink()
    assert (tmp_path / "first").is_symlink()
    assert (tmp_path / "second").is_symlink()


def test_a_fifo_is_written_to(tmp_path: Path) -> None:
    """More than it holds at once, to any reader, even a late one."""
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    got: list[str] = []
    reader = threading.Thread(target=lambda: got.append(fifo.read_text()))
    late = threading.Timer(0.1, reader.start)
    late.start()
    assert write_report(fifo, LONG) is False
    late.join()
    reader.join()
    assert got == [LONG]
    assert fifo.is_fifo()


def test_a_fifo_that_nobody_reads_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The write does not wait for ever, neither for a reader nor for one that takes nothing."""
    monkeypatch.setattr(report_output, "PATIENCE_SECONDS", 0.1)
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    with pytest.raises(OSError, match="nobody reads"):
        write_report(fifo, "x")
    idle = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK)
    try:
        with pytest.raises(OSError, match="nobody read from it"):
            write_report(fifo, LONG)
    finally:
        os.close(idle)
    assert fifo.is_fifo()


def test_a_device_stays_a_device(tmp_path: Path) -> None:
    """One like /dev/null, made for this test: the real one is everybody's."""
    device = tmp_path / "null"
    try:
        os.mknod(device, stat.S_IFCHR | 0o666, os.makedev(1, 3))
        descriptor = os.open(device, os.O_WRONLY)
    except OSError:
        pytest.skip("devices cannot be made here")
    os.close(descriptor)
    (tmp_path / "link").symlink_to("null")
    for path in (device, tmp_path / "link"):
        assert write_report(path, LONG) is False
    assert stat.S_ISCHR(device.lstat().st_mode)
    assert sorted(tmp_path.iterdir()) == [tmp_path / "link", device]


def test_a_terminal_is_written_to() -> None:
    """As with any program whose output one sends there."""
    master, slave = pty.openpty()
    try:
        assert write_report(Path(os.ttyname(slave)), "hello") is False
        assert os.read(master, 100) == b"hello"
    finally:
        os.close(master)
        os.close(slave)


@pytest.mark.parametrize("kind", ["socket", "folder"])
def test_what_cannot_be_written_to_is_an_error(tmp_path: Path, kind: str) -> None:
    """And is left as it is."""
    path = tmp_path / "it"
    if kind == "folder":
        path.mkdir()
    else:
        server = socket.socket(socket.AF_UNIX)
        server.bind(str(path))
        server.close()
    before = path.lstat()
    with pytest.raises(OSError, match=r"."):
        write_report(path, "x")
    assert path.lstat().st_ino == before.st_ino


SCRIPT = """
import sys
from pathlib import Path
from rpd.record.report_output import write_report
print("before")
write_report(Path(sys.argv[1]), "the report\\n")
print("after")
"""


@pytest.mark.parametrize("name", ["/dev/stdout", "/dev/fd/1", "/proc/self/fd/1"])
@pytest.mark.parametrize("into", ["file", "pipe"])
def test_standard_output_keeps_its_order(tmp_path: Path, name: str, into: str) -> None:
    """A report sent to standard output stands where it came, and earlier output stays: also in a file."""
    if not Path(name).exists():
        pytest.skip(f"this system has no {name}")
    log = tmp_path / "log"
    log.write_text("earlier\n")
    with log.open("a") as out:
        done = subprocess.run(
            [sys.executable, "-c", SCRIPT, name],
            stdout=out if into == "file" else subprocess.PIPE,
            text=True,
            check=True,
        )
    expected = "before\nthe report\nafter\n"
    assert (log.read_text() if into == "file" else done.stdout) == (
        "earlier\n" if into == "file" else ""
    ) + expected


def test_process_substitution_works(tmp_path: Path) -> None:
    """``>(program)`` of bash is a descriptor of this process."""
    code = f'{sys.executable} -c "$1" >(tr a-z A-Z >{tmp_path}/out) >/dev/null; wait $!'
    subprocess.run(["bash", "-c", code, "bash", SCRIPT], check=True)
    assert (tmp_path / "out").read_text() == "THE REPORT\n"
