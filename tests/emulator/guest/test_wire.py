"""Messages and descriptors over a wire."""

from __future__ import annotations

import os
import threading

from hypothesis import given
from hypothesis import strategies as st

from rpd.emulator.guest.wire import Wire

MESSAGES = st.lists(st.dictionaries(st.text(), st.text() | st.integers() | st.lists(st.text())), max_size=8)


@given(messages=MESSAGES)
def test_messages_arrive_whole_and_in_order(messages: list[dict[str, object]]) -> None:
    """Whatever was sent is received, line breaks in it included, and then the end is known."""
    ours, theirs = Wire.pair()
    for message in messages:
        ours.send(message)
    ours.close()
    arrived: list[dict[str, object]] = []
    while (some := theirs.receive()) is not None:
        arrived += some
    theirs.close()
    assert arrived == messages


def test_a_message_of_many_megabytes_with_descriptors() -> None:
    """Size is no limit, and the descriptors are there when the message is."""
    ours, theirs = Wire.pair()
    reader, writer = os.pipe()
    big = {"text": "x" * 5_000_000}
    sender = threading.Thread(target=ours.send, args=(big, writer, reader))
    sender.start()
    while not (messages := theirs.receive()):
        assert messages is not None
    sender.join()
    first, second = theirs.take_descriptors(2)
    os.write(first, b"through")
    assert (messages, os.read(second, 100)) == ([big], b"through")
    for descriptor in (reader, writer, first, second):
        os.close(descriptor)
    ours.close()
    theirs.close()
