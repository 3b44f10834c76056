# SPDX-License-Identifier: GPL-2.0-only
"""QMP against a peer that speaks it, refuses, is silent, and ends."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pytest

from harness.boot.keeper import keeper
from harness.boot.qmp import Command, Qmp, QmpRefused
from harness.deadline import Deadline
from harness.errors import DeadlineExpired, GuestLost

GREETING = {
    "QMP": {"version": {"qemu": {"major": 10, "minor": 0, "micro": 1}, "package": "test"}, "capabilities": []}
}
NO_ANSWER = object()
Answer = Callable[[str, dict[str, Any]], object]


class Peer:
    """QEMU's end: answers each command with what ``answer`` returns; an exception's text is an error."""

    def __init__(self, answer: Answer, first: Sequence[Command] = ()) -> None:
        host, self.line = socket.socketpair()
        self.asked: list[str] = []
        self._answer = answer
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()
        self.qmp = Qmp(keeper(), host, first)

    def say(self, message: object) -> None:
        self.line.sendall(json.dumps(message).encode() + b"\r\n")

    def event(self, name: str, **data: object) -> None:
        self.say({"event": name, "data": data, "timestamp": {"seconds": 1, "microseconds": 0}})

    def close(self) -> None:
        self.line.shutdown(socket.SHUT_RDWR)
        self._thread.join(5)
        self.line.close()
        assert self.qmp.wait_closed(5)

    def _messages(self) -> Iterator[dict[str, Any]]:
        """What the library sends: objects one after the other, with nothing between."""
        text = ""
        while piece := self.line.recv(4096):
            text += piece.decode()
            while text:
                try:
                    message, used = json.JSONDecoder().raw_decode(text)
                except ValueError:
                    break
                text = text[used:].lstrip()
                yield message

    def _serve(self) -> None:
        self.say(GREETING)
        for message in self._messages():
            self.asked.append(message["execute"])
            answer: object = {}
            if message["execute"] != "qmp_capabilities":
                answer = self._answer(message["execute"], message.get("arguments", {}))
            known = {"id": message["id"]} if "id" in message else {}
            if isinstance(answer, Exception):
                self.say({"error": {"class": "GenericError", "desc": str(answer)}, **known})
            elif answer is not NO_ANSWER:
                self.say({"return": answer, **known})


Start = Callable[..., Peer]


@pytest.fixture
def start() -> Iterator[Start]:
    peers: list[Peer] = []

    def begin(answer: Answer, first: Sequence[Command] = ()) -> Peer:
        peers.append(Peer(answer, first))
        return peers[-1]

    yield begin
    for peer in peers:
        if peer.line.fileno() >= 0:
            peer.close()


def soon(seconds: float = 5.0) -> Deadline:
    return Deadline.after(seconds, "QEMU does it")


def test_a_command_is_answered(start: Start) -> None:
    peer = start(lambda name, given: {"name": name, **given})
    assert peer.qmp.execute("query", {"a-b": 1}) == {"name": "query", "a-b": 1}
    assert peer.qmp.version == "10.0.1 test"


def test_the_first_commands_are_sent_in_their_order(start: Start) -> None:
    peer = start(lambda name, given: {}, first=(("one", {}), ("two", {"x": 1})))
    peer.qmp.ready.result(5)
    assert peer.asked == ["qmp_capabilities", "one", "two"]


def test_a_refusal_says_what_was_refused(start: Start) -> None:
    peer = start(lambda name, given: ValueError("no such device"))
    with pytest.raises(QmpRefused, match="eject: no such device"):
        peer.qmp.execute("eject")


def test_a_refused_first_command_is_not_forgotten(start: Start) -> None:
    peer = start(lambda name, given: ValueError("bad state"), first=(("migrate-incoming", {}),))
    assert "bad state" in str(peer.qmp.ready.exception(5))
    with pytest.raises(QmpRefused, match="bad state"):
        peer.qmp.execute("cont")


def test_silence_ends_with_the_deadline(start: Start) -> None:
    peer = start(lambda name, given: NO_ANSWER)
    with pytest.raises(DeadlineExpired, match="QEMU does it"):
        peer.qmp.execute("stop", deadline=soon(0.1))


def test_events_are_kept_for_who_asks_later(start: Start) -> None:
    peer = start(lambda name, given: {})
    peer.qmp.ready.result(5)
    peer.event("MIGRATION", status="active")
    peer.event("STOP")
    peer.event("MIGRATION", status="completed")
    wanted = ("completed", "failed")
    assert peer.qmp.wait_for("MIGRATION", "status", wanted, soon()) == "completed"
    assert peer.qmp.wait_for("MIGRATION", "status", wanted, soon()) == "completed"
    with pytest.raises(DeadlineExpired):
        peer.qmp.wait_for("MIGRATION", "status", ("failed",), soon(0.1))


def test_the_reason_of_a_shutdown_is_known_when_the_line_closes(start: Start) -> None:
    peer = start(lambda name, given: {})
    peer.qmp.ready.result(5)
    assert peer.qmp.shutdown_reason == ""
    peer.event("SHUTDOWN", guest=True, reason="guest-reset")
    peer.close()
    assert peer.qmp.closed
    assert peer.qmp.shutdown_reason == "guest-reset"
    with pytest.raises(GuestLost):
        peer.qmp.wait_for("MIGRATION", "status", ("completed",), soon())
    with pytest.raises(GuestLost):
        peer.qmp.execute("query-status")


def test_an_end_in_the_middle_of_a_command_is_noticed_at_once(start: Start) -> None:
    peer = start(lambda name, given: NO_ANSWER)
    threading.Timer(0.1, peer.line.shutdown, [socket.SHUT_RDWR]).start()
    begun = time.monotonic()
    with pytest.raises(GuestLost, match="query-status"):
        peer.qmp.execute("query-status", deadline=soon(30))
    assert time.monotonic() - begun < 5
    peer.line.close()


def test_an_end_before_the_greeting_is_an_end() -> None:
    host, guest = socket.socketpair()
    guest.close()
    qmp = Qmp(keeper(), host)
    assert qmp.wait_closed(5)
    with pytest.raises(GuestLost):
        qmp.execute("query-status")
