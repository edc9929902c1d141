"""Silence while a failed job is called a second time."""

from __future__ import annotations

import logging
import os
import sys
import threading

import pytest

from rpd.execute import no_network
from rpd.execute.node.silence import silenced


def test_only_the_thread_of_the_call_is_silent(capsys: pytest.CaptureFixture[str]) -> None:
    """What it prints and logs is dropped; other threads are heard, and afterwards it is heard again."""
    before = sys.stdout, sys.stderr
    handler = logging.StreamHandler(sys.stderr)
    logging.root.addHandler(handler)
    try:
        with silenced():
            print("never")
            print("never", file=sys.stderr)
            sys.stdout.writelines(["never\n"])
            logging.getLogger().error("never")
            other = threading.Thread(target=lambda: print("another job"))
            other.start()
            other.join()
        logging.getLogger().error("logged")
        assert handler.stream is before[1]
    finally:
        logging.root.removeHandler(handler)
    print("again")
    assert (sys.stdout, sys.stderr) == before
    heard = capsys.readouterr()
    assert heard.out == "another job\nagain\n"
    assert heard.err == "logged\n"


def test_bytes_past_the_text_streams_are_dropped_too(capfd: pytest.CaptureFixture[str]) -> None:
    """Those written to the buffer or the descriptor, and those of a thread that the second call starts."""

    def write(text: str) -> None:
        os.write(1, text.encode())
        os.write(2, text.encode())
        sys.stdout.buffer.write(text.encode())
        sys.stdout.flush()

    before = os.write
    with silenced(), no_network.guarded(no_network.SALVAGE):
        write("never\n")
        for_this = threading.Thread(target=write, args=("never\n",))
        for_this.start()
        for_this.join()
        reader, writer = os.pipe()
        assert os.write(writer, b"else") == 4
        assert os.read(reader, 9) == b"else"
        os.close(reader)
        os.close(writer)
    assert os.write is before
    write("heard\n")
    assert capfd.readouterr() == ("heard\nheard\n", "heard\n")


def test_two_calls_at_once(capsys: pytest.CaptureFixture[str]) -> None:
    """The streams are put back when the last call has ended, and a stream that a job has put there stays."""
    before, entered, leave = sys.stdout, threading.Event(), threading.Event()

    def call() -> None:
        with silenced():
            entered.set()
            leave.wait(20)
            print("never")

    thread = threading.Thread(target=call)
    thread.start()
    assert entered.wait(20)
    with silenced():
        print("never")
    print("heard")
    leave.set()
    thread.join()
    assert sys.stdout is before
    with silenced():
        sys.stdout = own = sys.__stdout__
    assert sys.stdout is own
    sys.stdout = before
    assert capsys.readouterr().out == "heard\n"
