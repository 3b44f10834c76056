# SPDX-License-Identifier: GPL-2.0-only
"""The results port: what the guest's programs report, taken in as it comes.

The port is always drained, so that a guest never stops because nobody reads. What is kept is
bounded: the guest is under test and may say anything, at any length.
"""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from dataclasses import dataclass
from typing import Final

from harness.boot.keeper import Keeper
from harness.deadline import Deadline
from harness.errors import DeadlineExpired, GuestLost

PORT_NAME: Final = "harness.results"
"""What the guest finds in /sys/class/virtio-ports/*/name."""
MAX_BYTES: Final = 64 << 20
_CHUNK: Final = 1 << 18


@dataclass(frozen=True, slots=True)
class Line:
    """One line without its end, and the host's monotonic seconds when its end arrived."""

    at: float
    text: bytes


class ResultsChannel:
    """Takes in the port in the keeper's loop until QEMU ends."""

    def __init__(self, keeper: Keeper, line: socket.socket, *, max_bytes: int = MAX_BYTES) -> None:
        self._keeper = keeper
        self._line = line
        self._max = max_bytes
        self._changed = threading.Condition()
        self._data = bytearray()
        self._arrivals: list[tuple[int, float]] = []
        self._ended = False
        self.truncated = False
        """Whether the guest said more than is kept."""
        line.setblocking(False)
        keeper.call(lambda: keeper.loop.add_reader(line.fileno(), self._take))

    @property
    def data(self) -> bytes:
        """Everything said so far, from the beginning."""
        with self._changed:
            return bytes(self._data)

    @property
    def ended(self) -> bool:
        """Whether the other end is gone."""
        return self._ended

    def lines(self) -> tuple[Line, ...]:
        """The complete lines said so far."""
        with self._changed:
            data, arrivals = bytes(self._data), tuple(self._arrivals)
        found, begin, chunk = [], 0, 0
        while (end := data.find(b"\n", begin)) >= 0:
            while arrivals[chunk][0] <= end:
                chunk += 1
            found.append(Line(arrivals[chunk][1], data[begin:end]))
            begin = end + 1
        return tuple(found)

    def wait_for(self, text: bytes, deadline: Deadline) -> int:
        """Wait until ``text`` was said, at any time; the number of bytes up to its end.

        Raises :class:`DeadlineExpired`, or :class:`GuestLost` when the guest ended without saying it.
        """
        searched = 0
        with self._changed:
            while (at := self._data.find(text, searched)) < 0:
                searched = max(0, len(self._data) - len(text) + 1)
                if self._ended:
                    raise GuestLost(f"the guest ended without saying {text!r}: {deadline.what}")
                if not self._changed.wait(deadline.remaining) and deadline.expired:
                    raise DeadlineExpired(f"time is up: {deadline.what}")
            return at + len(text)

    def send(self, line: bytes) -> None:
        """Say one line to the program that holds the port (guests/sample.c)."""

        def put() -> None:
            with contextlib.suppress(OSError):  # the end is noticed by who reads
                self._line.send(line + b"\n")

        self._keeper.call(put)

    def close(self) -> None:
        """Stop listening. What was said stays."""
        self._keeper.call(self._end)

    def _take(self) -> None:
        try:
            chunk = self._line.recv(_CHUNK)
        except BlockingIOError:
            return
        except OSError:
            chunk = b""
        if not chunk:
            self._end()
            return
        with self._changed:
            room = self._max - len(self._data)
            self.truncated = self.truncated or len(chunk) > room
            if room > 0:
                self._data += chunk[:room]
                self._arrivals.append((len(self._data), time.monotonic()))
            self._changed.notify_all()

    def _end(self) -> None:
        if self._line.fileno() >= 0:
            self._keeper.loop.remove_reader(self._line.fileno())
            self._line.close()
        with self._changed:
            self._ended = True
            self._changed.notify_all()
