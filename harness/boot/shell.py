# SPDX-License-Identifier: GPL-2.0-only
"""The guest's shell on its line: a script in, its output and status out.

The shell in the guest (guests/init) reads the line as its script. It runs a command itself, which
saves a fork, the most expensive thing a shell does under emulation. When the command ends the shell
(``exit``, a syntax error) the guest's first process starts another and says with which status. What
a script sets stays, but each begins in ``/``.

Control characters enclose a command's output; the line that is sent spells them as octal escapes, so
an echo of it cannot be taken for them. They go to descriptor 3, where no script redirects them.
"""

from __future__ import annotations

import re
import secrets
import socket
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pexpect
from pexpect.socket_pexpect import SocketSpawn

from harness.boot import terminal
from harness.deadline import Deadline
from harness.errors import DeadlineExpired, GuestLost, InfrastructureError

MAX_OUTPUT: Final = 1 << 20
RUN_SECONDS: Final = 60.0

# The end mark is shorter than 64 bytes; so what follows a \x02 for 64 bytes without another is no mark.
_RESTARTED: Final = re.compile(rb"\x02restarted ([0-9]{1,3})\x03")
"""What guests/init says when a command ended the shell, with its status."""
_NO_MARK: Final = re.compile(rb"[^\x02]{8192}|\x02+(?=\x02)|\x02[^\x02]{64}")


@dataclass(frozen=True, slots=True)
class CommandOutput:
    """What a script printed (at most :data:`MAX_OUTPUT` bytes of it) and its exit status."""

    text: str
    status: int
    truncated: bool = False


class CommandFailed(InfrastructureError):
    """A script that had to succeed ended with another status than 0."""


class OutOfStep(GuestLost):
    """The shell was given up on earlier and cannot be talked to any more."""


def quote(text: str) -> str:
    """``text`` as one word of the shell's, whatever is in it."""
    return "'" + text.replace("'", "'\\''") + "'"


def wrap(script: str, mark: str) -> bytes:
    """The line that runs ``script`` between marks. ``mark`` is a random word of letters and digits."""
    if "\0" in script:
        raise ValueError("a shell script cannot hold a NUL")
    line = (
        f"cd /; printf '\\002{mark}<\\003' >&3; eval {quote(script)} < /dev/null >&3 2>&1; "
        f"printf '\\002{mark}> %d\\003' \"$?\" >&3\n"
    )
    return line.encode("utf-8", "surrogateescape")


class Shell:
    """The host's end of the line. One command at a time, from one thread."""

    def __init__(
        self,
        line: socket.socket,
        tty: socket.socket | None = None,
        *,
        on_lost: Callable[[], str] = str,
        on_deadline: Callable[[str], Path | None] = lambda what: None,
    ) -> None:
        """``on_lost`` says why the machine ended; ``on_deadline`` saves evidence and ends the machine."""
        self._line = line
        self._terminal = tty
        self._on_lost = on_lost
        self._on_deadline = on_deadline
        self._usable = True
        self._spawn: SocketSpawn[bytes] = SocketSpawn(line, timeout=None, maxread=1 << 16)
        self._spawn.delayafterread = None  # there is nothing to wait for between two reads

    def run(self, script: str, *, deadline: Deadline | None = None, check: bool = True) -> CommandOutput:
        """Run ``script`` (ash; one or many lines) and wait for its end.

        Raises :class:`GuestLost` at once when the machine ends meanwhile, :class:`DeadlineExpired` after
        evidence was collected and the machine killed, and :class:`CommandFailed` when ``check`` is set
        and the status is not 0.
        """
        shown = shorten(script)
        limit = deadline or Deadline.after(RUN_SECONDS, f"the guest runs: {shown}")
        if not self._usable:
            raise OutOfStep(f"the guest's shell was lost before this: {shown}")
        mark = secrets.token_hex(8)
        try:
            self._line.settimeout(max(limit.remaining, 0.001))
            self._line.sendall(wrap(script, mark))
            self._skip_to(mark, limit)
            output = self._take_output(mark, limit)
        except (TimeoutError, BlockingIOError, pexpect.TIMEOUT):
            self._usable = False
            evidence = self._on_deadline(limit.what)
            raise DeadlineExpired(f"time is up: {limit.what}", evidence=evidence) from None
        except (OSError, pexpect.EOF):
            self._usable = False
            reason = self._on_lost()
            raise GuestLost(f"the machine ended ({reason}) while it ran: {shown}") from None
        if check and output.status != 0:
            raise CommandFailed(f"{shown!r} ended with status {output.status}: {output.text.strip()[-300:]}")
        return output

    def close(self) -> None:
        """Close the host's ends of the lines."""
        self._usable = False
        self._line.close()
        if self._terminal is not None:
            self._terminal.close()

    def interact(self) -> None:
        """Bridge the caller's terminal to a shell in the guest until it exits or Ctrl-] is typed.

        Raises :class:`UserError` when there is no terminal. After Ctrl-] no command can be run any more.
        """
        if self._terminal is None:
            raise InfrastructureError("this machine has no line for a terminal")
        mark = secrets.token_hex(8)
        self._line.sendall(wrap(terminal.login(), mark))
        self._usable = terminal.bridge(self._terminal, self._line, b"\x02%s> " % mark.encode())

    def _skip_to(self, mark: str, deadline: Deadline) -> None:
        """Drop what comes before the command's own output: echo, leftovers of processes in the background."""
        begin = re.compile(f"\x02{mark}<\x03".encode())
        while self._expect([begin, _NO_MARK], deadline) != 0:
            pass

    def _take_output(self, mark: str, deadline: Deadline) -> CommandOutput:
        end = re.compile(f"\x02{mark}> ([0-9]{{1,3}})\x03".encode())
        kept = bytearray()
        truncated = ended = False
        while not ended:
            ended = self._expect([end, _RESTARTED, _NO_MARK], deadline) < 2
            piece = _said(self._spawn.before)
            piece += b"" if ended else _said(self._spawn.after)
            room = MAX_OUTPUT - len(kept)
            truncated = truncated or len(piece) > room
            kept += piece[:room]
        assert isinstance(self._spawn.match, re.Match)
        status = int(self._spawn.match.group(1))
        return CommandOutput(kept.decode("utf-8", "replace"), status, truncated)

    def _expect(self, patterns: list[re.Pattern[bytes]], deadline: Deadline) -> int:
        """Which of ``patterns`` comes first."""
        if deadline.expired:
            raise TimeoutError
        return int(self._spawn.expect_list([*patterns], timeout=deadline.remaining))


def shorten(script: str) -> str:
    """A script for a message: its first line, at most 60 characters."""
    first, _, more = script.strip().partition("\n")
    return f"{first[:57]}..." if len(first) > 60 or more else first


def _said(text: object) -> bytes:
    """pexpect's ``before`` and ``after``, which are also used for its exceptions."""
    return text if isinstance(text, bytes) else b""
