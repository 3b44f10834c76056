# SPDX-License-Identifier: GPL-2.0-only
"""Running a program: its lines as they come, a deadline, and an end that leaves no child behind."""

from __future__ import annotations

import os
import selectors
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

import psutil

from harness.build.store import no_space
from harness.deadline import Deadline
from harness.errors import DeadlineExpired, InfrastructureError

_TAIL_LINES: Final = 20
_KEEP_BYTES: Final = 8 << 20
"""Of a program's output so much is kept: its end."""
_NOT_FOUND: Final = 127
_GRACE_SECONDS: Final = 3.0
"""Compilers and make get so long to remove what they have half written."""


class CommandFailed(InfrastructureError):
    """A program ended with a status that is not zero.

    ``status`` is negative for a signal; ``output`` is the end of what the program wrote.
    """

    def __init__(self, program: str, status: int, output: str, log: Path | None = None) -> None:
        tail = "\n".join(output.rstrip().splitlines()[-_TAIL_LINES:])
        how = f"was killed by signal {-status}" if status < 0 else f"failed with status {status}"
        super().__init__(f"{program} {how}" + (f":\n{tail}" if tail else ""), "", log)
        self.program = program
        self.status = status
        self.output = output

    def __reduce__(self) -> tuple[type[CommandFailed], tuple[str, int, str, Path | None]]:  # type: ignore[override]
        return type(self), (self.program, self.status, self.output, self.evidence)


def run(
    argv: Sequence[str],
    *,
    deadline: Deadline,
    name: str | None = None,
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
    log: Path | None = None,
    on_line: Callable[[str], None] | None = None,
) -> str:
    """Run ``argv``; what it wrote, standard error included.

    Raises :class:`CommandFailed`, :class:`DeadlineExpired`, or an :class:`InfrastructureError` when
    the program does not exist or the disk is full. Whatever happens, its processes are gone afterwards.
    """
    program = name or Path(argv[0]).name
    try:
        process = subprocess.Popen(
            [*_dies_with_us(argv[0]), *argv],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            cwd=cwd,
            env=None if env is None else dict(env),
            # A process group of its own: Ctrl-C reaches us alone, and we end the program in order.
            start_new_session=True,
        )
    except FileNotFoundError:
        raise no_program(argv[0]) from None
    try:
        output = _collect(process, program, deadline, log, on_line)
        status = process.wait()
    finally:
        stop(process)
    if status == _NOT_FOUND and not Path(argv[0]).exists() and shutil.which(argv[0]) is None:
        raise no_program(argv[0])
    if status != 0:
        if "No space left on device" in output:
            raise no_space(cwd or Path.cwd())
        raise CommandFailed(program, status, output, log)
    return output


def no_program(name: str) -> InfrastructureError:
    """The error for a program that this machine does not have."""
    return InfrastructureError(f"there is no program {name!r}", "harness doctor says what to install")


def _dies_with_us(program: str) -> list[str]:
    """What makes a program end when we are killed. bwrap sees to that itself (--die-with-parent)."""
    setpriv = shutil.which("setpriv")
    if setpriv is None or Path(program).name == "bwrap":
        return []
    return [setpriv, "--pdeathsig", "KILL", "--"]


def _collect(
    process: subprocess.Popen[bytes],
    program: str,
    deadline: Deadline,
    log: Path | None,
    on_line: Callable[[str], None] | None,
) -> str:
    """Read until the program closes its output. Raises :class:`DeadlineExpired`."""
    assert process.stdout is not None
    source = process.stdout.fileno()
    kept = bytearray()
    rest = b""
    with open(log or os.devnull, "ab", buffering=0) as file, selectors.DefaultSelector() as selector:
        selector.register(source, selectors.EVENT_READ)
        while True:
            if not selector.select(min(deadline.remaining, 60.0)):
                if deadline.expired:
                    raise DeadlineExpired(f"time is up: {deadline.what} ({program} was still running)")
                continue
            chunk = os.read(source, 1 << 16)
            if not chunk:
                break
            file.write(chunk)
            kept += chunk
            if len(kept) > 2 * _KEEP_BYTES:
                del kept[:-_KEEP_BYTES]
            if on_line is not None:
                *lines, rest = (rest + chunk).split(b"\n")
                for line in lines:
                    on_line(line.decode(errors="replace"))
    if rest and on_line is not None:
        on_line(rest.decode(errors="replace"))
    return kept.decode(errors="replace")


def stop(process: subprocess.Popen[bytes]) -> None:
    """End a program and everything it started; first politely, so that no half-written file is left."""
    if process.poll() is None:
        inner = _descendants(process.pid)
        # bwrap dies at once and takes the rest with it by force, so it is asked last.
        for child in inner:
            with suppress(psutil.Error):
                if child.name() != "bwrap":
                    child.send_signal(signal.SIGTERM)
        with suppress(ProcessLookupError):
            if not inner:
                os.killpg(process.pid, signal.SIGTERM)
        end = time.monotonic() + _GRACE_SECONDS
        while process.poll() is None and time.monotonic() < end:
            time.sleep(0.02)
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    if process.stdout is not None:
        process.stdout.close()


def _descendants(pid: int) -> list[psutil.Process]:
    with suppress(psutil.Error):
        return psutil.Process(pid).children(recursive=True)
    return []
