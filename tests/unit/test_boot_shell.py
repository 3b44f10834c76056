# SPDX-License-Identifier: GPL-2.0-only
"""The shell's line against a real shell, and against a peer that misbehaves in every way it can."""

from __future__ import annotations

import re
import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from harness.boot import shell as module
from harness.boot.shell import CommandFailed, CommandOutput, OutOfStep, Shell, quote, shorten, wrap
from harness.deadline import Deadline
from harness.errors import DeadlineExpired, GuestLost

Peer = Callable[[socket.socket, str], None]


class Rig:
    """A shell on a socket pair whose other end is played by a function in a thread."""

    def __init__(self) -> None:
        host, self.guest = socket.socketpair()
        self.expired: list[str] = []
        self.shell = Shell(host, on_lost=lambda: "guest-reset", on_deadline=self._expire)
        self._threads: list[threading.Thread] = []

    def play(self, peer: Peer) -> None:
        """Read one command, then let ``peer`` answer; it is given the command's mark."""

        def run() -> None:
            text = b""
            while not text.endswith(b">&3\n"):
                text += self.guest.recv(1 << 16)
            mark = re.search(rb"002([0-9a-f]{16})<", text)
            assert mark is not None
            peer(self.guest, mark[1].decode())

        self._threads.append(threading.Thread(target=run))
        self._threads[-1].start()

    def _expire(self, what: str) -> Path | None:
        self.expired.append(what)
        return Path("/evidence")

    def close(self) -> None:
        self.shell.close()
        for thread in self._threads:
            thread.join(5)
        self.guest.close()


@pytest.fixture
def rig() -> Iterator[Rig]:
    rig = Rig()
    yield rig
    rig.close()


def soon(seconds: float = 5.0) -> Deadline:
    return Deadline.after(seconds, "the peer answers")


def answer(output: bytes, status: int = 0) -> Peer:
    return lambda line, mark: line.sendall(begin(mark) + output + end(mark, status))


def begin(mark: str) -> bytes:
    return f"\x02{mark}<\x03".encode()


def end(mark: str, status: int = 0) -> bytes:
    return f"\x02{mark}> {status}\x03".encode()


# A real shell, as guests/init runs it

INIT = """\
exec 3<&0 < /dev/null >&3 2>&1
while [ ! -e "$1" ]; do
	$2 <&3
	printf '\\002restarted %d\\003' "$?" >&3
done
"""


@pytest.fixture
def real(tmp_path: Path) -> Iterator[Shell]:
    host, guest = socket.socketpair()
    sh, over = shutil.which("dash") or "sh", tmp_path / "over"
    with subprocess.Popen([sh, "-c", INIT, "init", str(over), sh], stdin=guest.fileno()) as child:
        guest.close()
        shell = Shell(host)
        yield shell
        over.touch()
        shell.close()
        child.wait(5)


def test_output_and_status_come_back(real: Shell) -> None:
    output = real.run("echo out; echo err >&2; exit 3", check=False)
    assert (output.text, output.status, output.truncated) == ("out\nerr\n", 3, False)


def test_neither_exit_nor_a_syntax_error_ends_the_shell(real: Shell) -> None:
    assert real.run("exit 0").status == 0
    assert real.run("echo said; exit 7", check=False) == CommandOutput("said\n", 7)
    assert real.run("if", check=False).status == 2
    assert real.run("echo 'unclosed", check=False).status == 2
    assert real.run("echo alive").text == "alive\n"


def test_a_script_of_many_lines_with_every_quote(real: Shell) -> None:
    script = (
        'a="it\'s"\nfor i in 1 2; do\n  printf \'%s\\n\' "$a $i"\ndone\ncat <<END\nhere $a\nEND\n# comment'
    )
    assert real.run(script).text == "it's 1\nit's 2\nhere it's\n"


def test_a_command_does_not_eat_the_next_one(real: Shell) -> None:
    assert real.run("cat").text == ""
    assert real.run("echo next").text == "next\n"


def test_every_command_begins_in_the_root_directory(real: Shell) -> None:
    real.run("cd /usr")
    assert real.run("pwd").text == "/\n"


def test_a_command_that_ends_the_shell_takes_what_was_set_with_it(real: Shell) -> None:
    assert real.run("x=1; set -e; false; echo on", check=False) == CommandOutput("", 1)
    assert real.run("echo ${x-unset}; false; echo on").text == "unset\non\n"


def test_a_command_cannot_redirect_the_answers_of_the_next(real: Shell) -> None:
    assert real.run("exec > /dev/null 2>&1; echo lost").text == ""
    assert real.run("echo seen; echo too >&2").text == "seen\ntoo\n"


def test_a_shell_that_is_killed_has_the_status_of_its_end(real: Shell) -> None:
    output = real.run("echo so far; kill -9 $$", check=False)
    assert (output.text[:7], output.status) == ("so far\n", 137)
    assert real.run("echo alive").text == "alive\n"


def test_a_failure_is_an_error_only_when_asked(real: Shell) -> None:
    with pytest.raises(CommandFailed, match="status 4"):
        real.run("echo why; exit 4")


def test_long_and_binary_output(real: Shell) -> None:
    assert real.run("printf 'a\\377b\\002c'").text == "a\ufffdb\x02c"
    assert len(real.run("head -c 300000 /dev/zero | tr '\\0' x").text) == 300_000


def test_what_is_left_of_a_background_process_is_not_the_next_output(real: Shell) -> None:
    real.run("(sleep 0.05; echo late) &")
    time.sleep(0.15)
    assert real.run("echo mine").text == "mine\n"


def test_output_is_bounded(real: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_OUTPUT", 10_000)
    output = real.run("head -c 500000 /dev/zero | tr '\\0' x; exit 5", check=False)
    assert (len(output.text), output.truncated, output.status) == (10_000, True, 5)
    assert real.run("echo in step").text == "in step\n"


# Peers that misbehave


def test_an_echo_of_the_command_is_not_taken_for_its_end(rig: Rig) -> None:
    def peer(line: socket.socket, mark: str) -> None:
        line.sendall(wrap("echo hi", mark).replace(b"\n", b"\r\n"))
        answer(b"hi\n")(line, mark)

    rig.play(peer)
    assert rig.shell.run("echo hi", deadline=soon()).text == "hi\n"


def test_bytes_may_come_one_by_one(rig: Rig) -> None:
    def peer(line: socket.socket, mark: str) -> None:
        for byte in b"noise" + begin(mark) + b"a\x02b\x02\x02" + end(mark, 42):
            line.sendall(bytes([byte]))
            time.sleep(0.0005)

    rig.play(peer)
    output = rig.shell.run("x", deadline=soon(), check=False)
    assert (output.text, output.status) == ("a\x02b\x02\x02", 42)


@pytest.mark.parametrize("filler", [b"\x02", b"\x02x", b"\x02" + b"y" * 63, b"\x02" + b"y" * 64, b"z\n"])
def test_no_filler_hides_the_end(rig: Rig, filler: bytes) -> None:
    output = (filler * 40_000)[:90_001]
    rig.play(answer(output, 7))
    found = rig.shell.run("x", deadline=soon(20), check=False)
    assert (found.text.encode(), found.status) == (output, 7)


def test_the_end_is_found_wherever_a_piece_happens_to_be_cut(rig: Rig) -> None:
    for size in (*range(8160, 8200), *range(65_500, 65_540)):
        rig.play(answer(b"z" * size))
        assert len(rig.shell.run("x", deadline=soon()).text) == size


def test_a_forged_mark_ends_nothing(rig: Rig) -> None:
    forged = end("0" * 16, 0) + begin("0" * 16)
    rig.play(answer(forged + b"tail", 1))
    found = rig.shell.run("x", deadline=soon(), check=False)
    assert (found.text.encode(), found.status) == (forged + b"tail", 1)


def test_a_machine_that_ends_is_noticed_at_once(rig: Rig) -> None:
    def peer(line: socket.socket, mark: str) -> None:
        line.sendall(begin(mark) + b"half an ans")
        line.shutdown(socket.SHUT_RDWR)

    rig.play(peer)
    begun = time.monotonic()
    with pytest.raises(GuestLost, match="guest-reset"):
        rig.shell.run("boom", deadline=soon(30))
    assert time.monotonic() - begun < 5
    with pytest.raises(OutOfStep):
        rig.shell.run("again", deadline=soon())


def test_a_machine_that_ends_before_it_reads_is_noticed_too(rig: Rig) -> None:
    rig.guest.close()  # unread bytes make it a reset of the connection, not an end of file
    with pytest.raises(GuestLost):
        rig.shell.run("boom", deadline=soon(30))


def test_a_shell_that_was_started_again_has_ended_the_command(rig: Rig) -> None:
    def peer(line: socket.socket, mark: str) -> None:
        line.sendall(b"\x02restarted 9\x03" + begin(mark) + b"sh: can't fork\n\x02restarted 2\x03")

    rig.play(peer)
    output = rig.shell.run("boom", deadline=soon(30), check=False)
    assert output == CommandOutput("sh: can't fork\n", 2)


def test_silence_ends_with_the_deadline_and_evidence(rig: Rig) -> None:
    rig.play(lambda line, mark: line.sendall(begin(mark)))
    with pytest.raises(DeadlineExpired) as caught:
        rig.shell.run("sleep", deadline=Deadline.after(0.2, "it wakes up"))
    assert rig.expired == ["it wakes up"]
    assert caught.value.evidence == Path("/evidence")
    with pytest.raises(OutOfStep):
        rig.shell.run("again", deadline=soon())


def test_a_flood_without_end_ends_with_the_deadline(rig: Rig) -> None:
    def peer(line: socket.socket, mark: str) -> None:
        line.sendall(begin(mark))
        until = time.monotonic() + 3
        try:
            while time.monotonic() < until:
                line.sendall(b"flood " * 10_000)
        except OSError:
            pass

    rig.play(peer)
    begun = time.monotonic()
    with pytest.raises(DeadlineExpired):
        rig.shell.run("yes", deadline=Deadline.after(0.3, "the flood ends"))
    assert time.monotonic() - begun < 2


def test_a_line_that_nobody_reads_ends_with_the_deadline(rig: Rig) -> None:
    with pytest.raises(DeadlineExpired):
        rig.shell.run(": " + "x" * 2_000_000, deadline=Deadline.after(0.2, "it is read"))


def test_words_for_the_shell() -> None:
    assert quote("a'b") == "'a'\\''b'"
    assert shorten("one\ntwo") == "one..."
    assert shorten("x" * 80) == "x" * 57 + "..."
    with pytest.raises(ValueError, match="NUL"):
        wrap("a\0b", "mark")
    assert b"\x02" not in wrap("echo", "mark"), "an echo would look like an answer"
