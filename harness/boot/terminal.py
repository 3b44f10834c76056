# SPDX-License-Identifier: GPL-2.0-only
"""A person at the guest's shell: the host's terminal bridged to the guest's.

The host's terminal is raw meanwhile, so that every key goes to the guest, Ctrl-C included; line
editing and signals are the guest's. It is restored whatever happens.
"""

from __future__ import annotations

import contextlib
import os
import selectors
import shutil
import socket
import sys
import termios
import tty
from collections.abc import Iterator
from typing import Final

from harness.boot.qemu import TERMINAL_DEVICE
from harness.errors import UserError

LEAVE: Final = b"\x1d"
"""Ctrl-]: leaves, whatever the guest does."""
_CHUNK: Final = 4096


def login() -> str:
    """The script that gives a person a shell on the terminal's line, and ends with it.

    Raises :class:`UserError` when standard input is no terminal.
    """
    if not sys.stdin.isatty():
        raise UserError("standard input is no terminal", "an interactive shell needs one")
    size = shutil.get_terminal_size()
    device = f"/dev/{TERMINAL_DEVICE}"
    inner = (
        f"exec < {device} > {device} 2>&1; stty sane rows {size.lines} cols {size.columns}; "
        "export TERM=linux PS1='guest:\\w# '; cd /; exec sh -i"
    )
    quoted = "'" + inner.replace("'", "'\\''") + "'"
    return f"setsid -c sh -c {quoted} < {device}"


def bridge(guest: socket.socket, line: socket.socket, end: bytes) -> bool:
    """Pass keys and output on until ``line`` says ``end`` or closes, or Ctrl-] is typed.

    Whether ``line`` said ``end``: the guest's shell waits for the next command then.
    """
    with _raw(sys.stdin.fileno()), selectors.DefaultSelector() as ready:
        guest.settimeout(None)
        line.settimeout(None)
        ready.register(sys.stdin.fileno(), selectors.EVENT_READ, "keys")
        ready.register(guest, selectors.EVENT_READ, "output")
        ready.register(line, selectors.EVENT_READ, "end")
        said = b""
        while True:
            for source in {key.data for key, _ in ready.select()}:
                if source == "keys":
                    keys = os.read(sys.stdin.fileno(), _CHUNK)
                    before, leave, _ = keys.partition(LEAVE)
                    guest.sendall(before)
                    if leave or not keys:
                        return False
                elif source == "output":
                    if not _show(guest):
                        return False
                else:
                    piece = _receive(line)
                    said = (said + piece)[-_CHUNK:]
                    if not piece or end in said:
                        _show_rest(guest)
                        return end in said


@contextlib.contextmanager
def _raw(terminal: int) -> Iterator[None]:
    saved = termios.tcgetattr(terminal)
    try:
        tty.setraw(terminal)
        yield
    finally:
        termios.tcsetattr(terminal, termios.TCSADRAIN, saved)


def _receive(source: socket.socket) -> bytes:
    try:
        return source.recv(_CHUNK)
    except OSError:
        return b""


def _show(guest: socket.socket) -> bool:
    output = _receive(guest)
    view = memoryview(output)
    while view:
        view = view[os.write(sys.stdout.fileno(), view) :]
    return bool(output)


def _show_rest(guest: socket.socket) -> None:
    guest.setblocking(False)
    while _show(guest):
        pass
