# SPDX-License-Identifier: GPL-2.0-only
"""One QEMU process: started, talked to, and certain to end.

Whatever becomes of the harness, QEMU is gone with it (bubblewrap's parent-death signal, see
:mod:`harness.boot.keeper`). Whatever becomes of QEMU, its evidence stays: the console is written by
QEMU itself, and is complete when the process is gone.
"""

from __future__ import annotations

import atexit
import contextlib
import json
import os
import re
import signal
import socket
import subprocess
import tempfile
import threading
import time
import weakref
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import IO, TYPE_CHECKING, Final, Self

from qemu.qmp import ExecuteError

from harness.boot import postmortem, qemu
from harness.boot.keeper import keeper, stop_keeper
from harness.boot.payload import SIZE as PAYLOAD_BYTES
from harness.boot.qmp import Command, Qmp
from harness.boot.results import ResultsChannel
from harness.boot.shell import Shell
from harness.boot.sysrq import SysRq
from harness.deadline import Deadline
from harness.errors import DeadlineExpired, GuestLost, HarnessError, InfrastructureError, KernelCrashed

if TYPE_CHECKING:
    from harness.build.artefacts import Artefacts
    from harness.build.root import BuildRoot

CONSOLE: Final = "console.log"
STDERR: Final = "qemu.log"
CRASHED: Final = frozenset({"guest-panic", "guest-reset"})
"""QEMU's reasons for an end that a healthy guest does not give: panic=-1 resets, -no-reboot ends."""
_END_SECONDS: Final = 5.0
_POLL_SECONDS: Final = 0.005
_LAST_LINES: Final = 5


_live: weakref.WeakSet[Machine] = weakref.WeakSet()
_owner = os.getpid()


@atexit.register
def _stop_all() -> None:
    """At an orderly end of the harness no machine is left to the parent-death signal."""
    if os.getpid() != _owner:
        return  # a forked child: the machines are its parent's
    for machine in list(_live):
        with contextlib.suppress(HarnessError):
            machine.stop()
    stop_keeper()


@dataclass(slots=True)
class _Host:
    """The host's ends of a machine's lines, in the order of :class:`harness.boot.qemu.Fds`."""

    qmp: socket.socket
    shell: socket.socket
    terminal: socket.socket
    results: socket.socket
    sysrq: int


class Machine:
    """A running (or ended) QEMU. A context manager: leaving it stops the machine."""

    def __init__(
        self,
        parts: qemu.Machine,
        root: BuildRoot,
        evidence: Path,
        *,
        payload: Path | None = None,
        slowdown: float = 1.0,
        first: Sequence[Command] = (),
        readable: Sequence[Path] = (),
        writable: Sequence[Path] = (),
        console: str = CONSOLE,
    ) -> None:
        """Start QEMU. ``first`` are QMP commands sent at once; the guest need not run yet on return."""
        self.started = time.monotonic()
        self.parts = parts
        self.evidence = evidence
        self.console = evidence / console
        self.slowdown = slowdown
        self.seed = ""
        """What the guest's random number generator was given after the clone, in hexadecimal."""
        self._why = ""
        _live.add(self)
        self._stopping = threading.Lock()
        keep = keeper()
        with contextlib.ExitStack() as opened:
            host, fds = _open(evidence, self.console, payload, opened)
            self.argv = qemu.argv(parts, fds)
            line = root.command(self.argv, readable=[*parts.readable, *readable], writable=writable)
            stderr = opened.enter_context((evidence / STDERR).open("wb"))
            self._process = keep.call(lambda: _spawn(line, fds, stderr))
        self.qmp = Qmp(keep, host.qmp, first)
        self.qmp.ready.add_done_callback(self._give_up)
        self._sysrq = SysRq(self.qmp, host.sysrq)
        self.results = ResultsChannel(keep, host.results)
        self.shell = Shell(host.shell, host.terminal, on_lost=self._lost, on_deadline=self.expire)

    @property
    def pid(self) -> int:
        """The process that QEMU lives and dies with (bubblewrap's)."""
        return self._process.pid

    def is_alive(self) -> bool:
        """Whether QEMU is still there."""
        return not self.qmp.closed and self._process.poll() is None

    @property
    def exit_reason(self) -> str:
        """Why the machine ended: QEMU's word for it, or what became of QEMU; empty while it is alive."""
        if self.is_alive():
            return ""
        self._reap(_END_SECONDS)
        return self.qmp.shutdown_reason or self._why or self._status()

    def stop(self) -> None:
        """Kill the machine and wait until it is gone; nothing when it is gone already."""
        self._kill("stopped")

    def expire(self, what: str) -> Path | None:
        """A deadline ran out: save what can still be learned, then kill. Where it was saved, if it was."""
        saved = None
        if self.is_alive():
            saved = postmortem.save(self.qmp, self._sysrq, self.console, what, self.slowdown)
        self._kill("deadline")
        return saved

    def note(self, **facts: object) -> None:
        """Write down what this machine was, beside its other evidence."""
        known = {"cmdline": " ".join(self.parts.full_cmdline), "seed": self.seed, "argv": self.argv, **facts}
        (self.evidence / "machine.json").write_text(json.dumps(known, indent=1) + "\n", encoding="utf-8")

    def await_console(self, text: str, deadline: Deadline) -> bool:
        """Wait until the console shows ``text``; False when the machine ended or time was up before that."""
        while True:
            over = not self.is_alive() or deadline.expired
            if text.encode() in self.console.read_bytes():
                return True
            if over:
                return False
            time.sleep(_POLL_SECONDS)

    def last_words(self, count: int = _LAST_LINES) -> str:
        """The last lines of the console."""
        with contextlib.suppress(OSError):
            text = self.console.read_bytes()[-(count * 400) :].decode("utf-8", "replace")
            return "\n".join(text.replace("\r", "").splitlines()[-count:])
        return ""

    def stderr(self) -> str:
        """What QEMU had to say for itself."""
        with contextlib.suppress(OSError):
            return (self.evidence / STDERR).read_text(encoding="utf-8", errors="replace").strip()[-2000:]
        return ""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _give_up(self, ready: Future[None]) -> None:
        """When QEMU refused what it was told at the start, the guest will never run."""
        if not ready.cancelled() and isinstance(refusal := ready.exception(), ExecuteError):
            self._why = f"QEMU refused to start the guest: {refusal}"
            _kill_group(self._process.pid)

    def _kill(self, why: str) -> None:
        with self._stopping:
            if self._process.returncode is None:
                if self._process.poll() is None and not self.qmp.closed:
                    self._why = self._why or why
                _kill_group(self._process.pid)
                self._process.wait(_END_SECONDS)
                if not self.qmp.wait_closed(_END_SECONDS):
                    raise InfrastructureError(f"QEMU (process {self.pid}) does not end")
            self.shell.close()
            self.results.close()
            self._sysrq.close()

    def _reap(self, seconds: float) -> None:
        """QEMU is ending by itself: wait until it has."""
        self.qmp.wait_closed(seconds)
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(seconds)

    def _lost(self) -> str:
        self._reap(_END_SECONDS)
        return self.exit_reason

    def _status(self) -> str:
        status = self._process.poll()
        if status is None:
            return "QEMU closed its lines"
        how = f"ended with status {status}"
        # bubblewrap passes a signal on as a shell does.
        if (number := -status if status < 0 else status - 128) in {*signal.Signals}:
            how = f"was killed by {signal.Signals(number).name}"
        said = self.stderr().splitlines()
        return f"QEMU {how}" + (f": {said[-1]}" if said else "")


def boot(
    artefacts: Artefacts,
    evidence: Path,
    deadline: Deadline,
    *,
    extra_cmdline: Sequence[str] = (),
    accel: str = "tcg",
    payload: Path | None = None,
) -> Machine:
    """A machine booted from nothing, whose shell has answered.

    Raises what :func:`await_guest` raises.
    """
    evidence.mkdir(parents=True, exist_ok=True)
    parts = qemu.Machine(
        artefacts.target, accel, artefacts.kernel.image, artefacts.userspace.initramfs, tuple(extra_cmdline)
    )
    machine = Machine(parts, artefacts.root, evidence, payload=payload)
    await_guest(machine, deadline, shell_answers(machine))
    machine.note()
    return machine


def await_guest(machine: Machine, deadline: Deadline, answer: Callable[[Deadline], object]) -> None:
    """Wait for the guest's first ``answer``. Whatever goes wrong, the machine is stopped.

    Raises :class:`KernelCrashed` when the kernel took the machine down, :class:`InfrastructureError` when
    QEMU ended, :class:`DeadlineExpired` when the guest hangs; each with the console's last lines.
    """
    try:
        answer(deadline)
    except DeadlineExpired as error:
        raise DeadlineExpired(
            f"the guest hangs: {deadline.what} did not happen in time; {_console(machine)}",
            evidence=error.evidence or machine.expire(deadline.what),
        ) from None
    except GuestLost:
        reason = machine.exit_reason
        machine.stop()
        if reason in CRASHED:
            raise KernelCrashed(
                f"the kernel crashed before the guest was ready ({reason}); {_console(machine)}",
                evidence=machine.console,
            ) from None
        raise InfrastructureError(
            f"the machine ended before the guest was ready: {reason}; {_console(machine)}",
            evidence=machine.evidence,
        ) from None
    except BaseException:
        machine.stop()
        raise


def shell_answers(machine: Machine) -> Callable[[Deadline], object]:
    """For :func:`await_guest`: the shell has run an empty command."""
    return lambda deadline: machine.shell.run(":", deadline=deadline)


def _console(machine: Machine) -> str:
    """What the console says about the end, for a message: the panic, else the last lines."""
    words = machine.last_words(100)
    if panic := re.findall(r"Kernel panic - not syncing: .*", words):
        return str(panic[-1])
    last = "\n".join(words.splitlines()[-_LAST_LINES:])
    return f"the console's last lines:\n{last}\n" if last else "the console is empty"


def _open(
    evidence: Path, console: Path, payload: Path | None, opened: contextlib.ExitStack
) -> tuple[_Host, qemu.Fds]:
    """Open everything QEMU inherits. The host's ends are returned, QEMU's ends are closed with ``opened``."""
    pairs = [socket.socketpair() for _ in range(4)]
    theirs = [opened.enter_context(pair[1]) for pair in pairs]
    sysrq_out, sysrq_in = os.pipe2(os.O_CLOEXEC)
    opened.callback(os.close, sysrq_out)
    # QEMU asks for appending, and takes only a descriptor that was opened for it.
    log = os.open(console, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND, 0o644)
    opened.callback(os.close, log)
    # Without a name: gone with the machine, whatever ends it.
    swap = opened.enter_context(tempfile.TemporaryFile(dir=evidence))  # noqa: SIM115
    swap.truncate(qemu.SWAP_BYTES)
    disk = opened.enter_context(_empty_disk(evidence) if payload is None else payload.open("rb"))
    qmp, shell, terminal, results = (end.fileno() for end in theirs)
    fds = qemu.Fds(qmp, shell, terminal, results, log, sysrq_out, swap.fileno(), disk.fileno())
    qmp_, shell_, terminal_, results_ = (pair[0] for pair in pairs)
    return _Host(qmp_, shell_, terminal_, results_, sysrq_in), fds


def _empty_disk(directory: Path) -> IO[bytes]:
    """A payload without files, opened for reading only: QEMU insists on exactly that."""
    with tempfile.TemporaryFile(dir=directory) as disk:
        disk.truncate(PAYLOAD_BYTES)
        return open(f"/proc/self/fd/{disk.fileno()}", "rb")


def _spawn(line: Sequence[str], fds: qemu.Fds, stderr: IO[bytes]) -> subprocess.Popen[bytes]:
    """Start QEMU in a session of its own, so that a Ctrl-C reaches the harness alone."""
    try:
        return subprocess.Popen(
            line,
            stdin=subprocess.DEVNULL,
            stdout=stderr,
            stderr=stderr,
            pass_fds=fds.all(),
            start_new_session=True,
        )
    except FileNotFoundError:
        raise InfrastructureError("bubblewrap is not installed", "install the package bubblewrap") from None


def _kill_group(pid: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(pid, signal.SIGKILL)
