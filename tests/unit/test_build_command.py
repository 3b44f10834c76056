# SPDX-License-Identifier: GPL-2.0-only
"""Programs that are run: their output, their failure, and that nothing of them is left."""

from __future__ import annotations

import os
import pickle
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import psutil
import pytest

from harness.build.command import CommandFailed, run
from harness.deadline import Deadline
from harness.errors import DeadlineExpired, InfrastructureError


def soon(seconds: float = 20) -> Deadline:
    return Deadline.after(seconds, "a test")


def test_output_lines_and_log(tmp_path: Path) -> None:
    lines: list[str] = []
    log = tmp_path / "log"
    text = run(
        ["sh", "-c", "echo one; echo two >&2; printf three"], deadline=soon(), log=log, on_line=lines.append
    )
    assert text == "one\ntwo\nthree"
    assert lines == ["one", "two", "three"]
    assert log.read_text() == text


def test_a_failure_carries_status_and_the_end_of_the_output() -> None:
    with pytest.raises(CommandFailed) as caught:
        run(["sh", "-c", "seq 100; exit 7"], deadline=soon())
    assert caught.value.status == 7
    assert "\n100" in caught.value.what
    assert "\n50\n" not in caught.value.what
    again = pickle.loads(pickle.dumps(caught.value))
    assert (again.status, again.output) == (7, caught.value.output)


def test_a_program_that_is_not_there() -> None:
    with pytest.raises(InfrastructureError, match="there is no program"):
        run(["/no/such/program"], deadline=soon())


def test_a_full_disk_is_told_from_other_failures() -> None:
    with pytest.raises(InfrastructureError, match="no space left"):
        run(["sh", "-c", "echo 'x: No space left on device'; exit 1"], deadline=soon())


def test_the_deadline_ends_the_program_and_its_children(tmp_path: Path) -> None:
    pids = tmp_path / "pids"
    script = f"sleep 1000 & echo $! $$ > {pids}; wait"
    with pytest.raises(DeadlineExpired, match="a test"):
        run(["sh", "-c", script], deadline=soon(0.5))
    assert not any(psutil.pid_exists(int(pid)) for pid in pids.read_text().split())


def test_children_may_tidy_up(tmp_path: Path) -> None:
    tidied = tmp_path / "tidied"
    inner = f"trap 'touch {tidied}; exit 1' TERM; while :; do sleep 0.05; done"
    with pytest.raises(DeadlineExpired):
        run(["sh", "-c", f'sh -c "{inner}"; true'], deadline=soon(0.5))
    assert tidied.exists()


def test_ctrl_c_ends_the_program(tmp_path: Path) -> None:
    pids = tmp_path / "pids"
    timer = threading.Timer(0.5, os.kill, (os.getpid(), signal.SIGINT))
    # Who was started in the background of a script ignores it.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        timer.start()
        started = time.monotonic()
        with pytest.raises(KeyboardInterrupt):
            run(["sh", "-c", f"sleep 1000 & echo $! $$ > {pids}; wait"], deadline=soon())
    finally:
        signal.signal(signal.SIGINT, before)
    assert time.monotonic() - started < 5
    assert not any(psutil.pid_exists(int(pid)) for pid in pids.read_text().split())


def test_programs_end_when_we_are_killed(tmp_path: Path) -> None:
    pid_file = tmp_path / "pid"
    code = (
        "from harness.build.command import run\nfrom harness.deadline import Deadline\n"
        f"run(['sh', '-c', 'echo $$ > {pid_file}; exec sleep 1000'], deadline=Deadline.after(100, 'x'))"
    )
    process = subprocess.Popen([sys.executable, "-c", code])
    end = time.monotonic() + 10
    while not (pid_file.exists() and pid_file.read_text().strip()):
        assert time.monotonic() < end
        time.sleep(0.02)
    process.kill()
    process.wait()
    pid = int(pid_file.read_text())
    while psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE:
        assert time.monotonic() < end, "the program lives on"
        time.sleep(0.02)
