# SPDX-License-Identifier: GPL-2.0-only
"""The results port: lines with times, bounds, and ends."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator

import pytest

from harness.boot.keeper import keeper
from harness.boot.results import ResultsChannel
from harness.deadline import Deadline
from harness.errors import DeadlineExpired, GuestLost


class Port:
    def __init__(self, max_bytes: int = 1 << 20) -> None:
        host, self.guest = socket.socketpair()
        self.channel = ResultsChannel(keeper(), host, max_bytes=max_bytes)


@pytest.fixture
def port() -> Iterator[Port]:
    port = Port()
    yield port
    port.channel.close()
    port.guest.close()


def soon(seconds: float = 5.0) -> Deadline:
    return Deadline.after(seconds, "the guest says it")


def test_lines_come_with_the_time_of_their_end(port: Port) -> None:
    port.guest.sendall(b"@event 1 a\n@ev")
    port.channel.wait_for(b"@ev", soon())
    time.sleep(0.05)
    between = time.monotonic()
    port.guest.sendall(b"ent 2 b\n\nrest")
    assert port.channel.wait_for(b"rest", soon()) == len(b"@event 1 a\n@event 2 b\n\nrest")
    lines = port.channel.lines()
    assert [line.text for line in lines] == [b"@event 1 a", b"@event 2 b", b""]
    assert lines[0].at < between <= lines[1].at == lines[2].at
    assert port.channel.data.endswith(b"\n\nrest")


def test_a_line_whose_end_comes_alone_has_the_time_of_its_end(port: Port) -> None:
    port.guest.sendall(b"late")
    port.channel.wait_for(b"late", soon())
    between = time.monotonic()
    port.guest.sendall(b"\n")
    port.channel.wait_for(b"late\n", soon())
    assert port.channel.lines()[0].at > between


def test_what_was_said_before_counts(port: Port) -> None:
    port.guest.sendall(b"@exit\n")
    assert port.channel.wait_for(b"@exit\n", soon()) == 6
    assert port.channel.wait_for(b"@exit\n", soon()) == 6


def test_a_word_in_two_pieces_is_found(port: Port) -> None:
    def say() -> None:
        for piece in (b"@e", b"x", b"it\n"):
            time.sleep(0.02)
            port.guest.sendall(piece)

    thread = threading.Thread(target=say)
    thread.start()
    assert port.channel.wait_for(b"@exit\n", soon()) == 6
    thread.join()


def test_the_end_of_the_guest_is_noticed_at_once(port: Port) -> None:
    threading.Timer(0.05, port.guest.shutdown, [socket.SHUT_RDWR]).start()
    begun = time.monotonic()
    with pytest.raises(GuestLost):
        port.channel.wait_for(b"@exit\n", soon(30))
    assert time.monotonic() - begun < 5
    assert port.channel.ended


def test_silence_ends_with_the_deadline(port: Port) -> None:
    with pytest.raises(DeadlineExpired, match="says it"):
        port.channel.wait_for(b"@exit\n", soon(0.1))


def test_a_flood_is_drained_and_only_its_beginning_kept() -> None:
    port = Port(max_bytes=1000)
    port.guest.settimeout(5)
    port.guest.sendall(b"0123456789" * 100_000)  # blocks for good if nobody reads
    port.guest.close()
    deadline = soon()
    while not port.channel.ended:
        deadline.check()
        time.sleep(0.01)
    assert port.channel.data == b"0123456789" * 100
    assert port.channel.truncated


def test_closing_twice_is_fine_and_keeps_what_was_said(port: Port) -> None:
    port.guest.sendall(b"kept\n")
    port.channel.wait_for(b"kept\n", soon())
    port.channel.close()
    port.channel.close()
    assert port.channel.data == b"kept\n"


def test_a_line_for_the_guest_arrives(port: Port) -> None:
    port.channel.send(b"@seed 00ff")
    port.guest.settimeout(5)
    assert port.guest.recv(100) == b"@seed 00ff\n"
    port.guest.close()
    port.channel.send(b"into the void")
