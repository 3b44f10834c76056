# SPDX-License-Identifier: GPL-2.0-only
"""The guest as a scenario sees it: run, read, write, load a module, have it do something.

Whatever comes back was said by the kernel under test and is not trusted: it is parsed as text or
JSON, bounded by the channel, and never goes to a shell again.
"""

from __future__ import annotations

import errno
import json
import shlex
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from harness.deadline import Deadline
from harness.errors import InfrastructureError, Vacuous
from harness.judge.dmesg import ConsoleParser, Report, parse
from harness.judge.expect import Expectations, Fate
from harness.judge.kinds import Kind
from harness.judge.meminfo import parse_meminfo, parse_vmstat
from harness.judge.operations import Operation

if TYPE_CHECKING:
    from harness.boot.machine import Machine
    from harness.boot.shell import CommandOutput
    from harness.drive.scenario import Scenario
    from harness.targets import Target

SAMPLE_MS: Final = 95
"""Between two samples of the kernel's counters, in the guest's milliseconds."""
CONSOLE_SECONDS: Final = 5.0
"""On a fast machine: what the kernel has said is on the console by then."""
QUIET_SECONDS: Final = 0.1
"""A console that says nothing for so long is not within a report."""
MODULES: Final = "/modules"
RESULTS: Final = "/run/results"
"""Lines that are written there go to the sampler, and from it to the results port."""
VMSTAT: Final = "cat /proc/sys/vm/stat_refresh /proc/vmstat"


class Guest:
    """One scenario's private clone."""

    def __init__(
        self,
        machine: Machine,
        target: Target,
        scenario: Scenario,
        deadline: Deadline,
        log: Path,
        build_ids: Mapping[str, str],
    ) -> None:
        """``build_ids`` are those of the scenario's modules, in hexadecimal; ``log`` takes the commands."""
        self._machine = machine
        self._deadline = deadline
        self._log = log
        self._build_ids = build_ids
        self.target = target
        self.scenario = scenario
        self.expectations = Expectations()
        self._intervals = 0
        self._heard = 0
        self.operations: list[Operation] = []
        """What it was told to do so far; times are the host's."""

    # Running things

    def run(self, script: str, *, check: bool = True, seconds: float = 10.0) -> CommandOutput:
        """Run ``script`` in the guest's shell (busybox ash). ``check``: a status other than 0 raises."""
        shown = script if len(script) <= 60 else f"{script[:57]}..."
        deadline = self._deadline.within(seconds * self._machine.slowdown, f"the guest runs: {shown}")
        started = time.monotonic()
        try:
            output = self._machine.shell.run(script, deadline=deadline, check=False)
        except BaseException:
            self._note(Operation(started, time.monotonic() - started, script, None, ""))
            raise
        self._note(Operation(started, time.monotonic() - started, script, output.status, output.text))
        if check and output.status != 0:
            raise Vacuous(f"{shown!r} ended with status {output.status}: {output.text.strip()[-300:]}")
        return output

    def _note(self, done: Operation) -> None:
        """Keep what was done as evidence, also what never got its answer."""
        self.operations.append(done)
        end = "no answer" if done.status is None else str(done.status)
        with self._log.open("a", encoding="utf-8") as log:
            log.write(f"$ {done.script}\n{done.output}[{end} after {done.seconds:.3f} s]\n")

    def json(self, command: str, *, seconds: float = 10.0) -> dict[str, Any]:
        """The one JSON object that ``command`` prints; an error number in it becomes its name."""
        text = self.run(command, check=False, seconds=seconds).text
        try:
            answer = json.loads(text)
        except ValueError:
            raise InfrastructureError(f"{command!r} answered no JSON: {text.strip()[-300:]!r}") from None
        if not isinstance(answer, dict) or not isinstance(answer.get("ok"), bool):
            raise InfrastructureError(f"{command!r} answered {text.strip()[-300:]!r}")
        number = answer.get("errno")
        if isinstance(number, int):
            answer["errno"] = errno.errorcode.get(number, str(number))
        return answer

    # Files of the kernel's

    def read(self, path: str) -> str:
        """The content of a file in the guest."""
        return self.run(f"cat {shlex.quote(path)}").text

    def write(self, path: str, value: str) -> None:
        """Write ``value`` in one system call. Raises AssertionError with the kernel's answer."""
        refused = self.try_write(path, value)
        assert refused is None, f"writing {value!r} to {path} failed with {refused}"

    def write_all(self, values: Mapping[str, str]) -> None:
        """Write several files in one command. Raises AssertionError for the first that is refused."""
        commands = [f"put {shlex.quote(path)} {shlex.quote(value)}" for path, value in values.items()]
        answers = self.run("; ".join(commands), check=False).text.splitlines()
        for (path, value), answer in zip(values.items(), answers, strict=True):
            assert answer == '{"ok":true}', f"writing {value!r} to {path} failed: {answer}"

    def try_write(self, path: str, value: str) -> str | None:
        """Write ``value`` in one system call; the error's name, or None when it was taken."""
        return _refusal(self.json(f"put {shlex.quote(path)} {shlex.quote(value)}"))

    def one_cpu(self) -> None:
        """Take every CPU offline but the first, where the kernel can."""
        each = "/sys/devices/system/cpu/cpu[1-9]*/online"
        self.run(f"for cpu in {each}; do [ ! -e $cpu ] || echo 0 > $cpu; done")

    def sample_every(self, milliseconds: int) -> None:
        """Sample the kernel's counters at this interval from now on, or with 0 not at all.

        Returns when the sampler (guests/sample.c) has nothing left to do. It takes memory like any other
        process, and who reads /proc/meminfo asks zswap's back end for its size.
        """
        self._intervals += 1
        said = f'@json {{"intervals":{self._intervals}}}'
        self.run(f"echo @every {milliseconds} > {RESULTS}; echo '{said}' > {RESULTS}")
        deadline = self._deadline.within(10.0 * self._machine.slowdown, "the sampler takes a new interval")
        self._machine.results.wait_for(f"{said}\n".encode(), deadline)

    def meminfo(self) -> Mapping[str, int]:
        """``/proc/meminfo``, in bytes."""
        return parse_meminfo(self.read("/proc/meminfo"))

    def vmstat(self) -> Mapping[str, int]:
        """``/proc/vmstat``, in the units of its names, after each CPU has added what it had counted."""
        return parse_vmstat(self.run(VMSTAT).text)

    # Modules

    def insmod(self, name: str, *params: str) -> None:
        """Load a module of the scenario's. Raises AssertionError with the kernel's refusal."""
        answer = self._load(name, params)
        assert answer["ok"], f"loading {name} failed with {answer['errno']}"
        built = self._build_ids[name]
        self.prove(answer.get("build_id") == built, f"the kernel has the {name} that was built, {built}")

    def try_insmod(self, name: str, *params: str) -> str | None:
        """Load a module; the error's name, or None when it is loaded."""
        return _refusal(self._load(name, params))

    def _load(self, name: str, params: Sequence[str]) -> dict[str, Any]:
        if name not in self.scenario.modules:
            raise Vacuous(f"scenario {self.scenario.id} does not list the module {name}")
        words = " ".join(shlex.quote(param) for param in params)
        return self.json(f"modctl load {MODULES}/{shlex.quote(name)}.ko {words}".rstrip())

    def rmmod(self, name: str) -> None:
        """Unload a module. Raises AssertionError with the kernel's refusal."""
        refused = self.try_rmmod(name)
        assert refused is None, f"unloading {name} failed with {refused}"

    def try_rmmod(self, name: str) -> str | None:
        """Unload a module; the error's name (EWOULDBLOCK is called EAGAIN), or None when it is gone."""
        return _refusal(self.json(f"modctl unload {shlex.quote(name)}"))

    def op(self, module: str, words: str) -> dict[str, Any]:
        """Have a module run one operation, and what it answers, whether it went well or not."""
        quoted = " ".join(shlex.quote(word) for word in words.split())
        return self.json(f"op /sys/kernel/debug/{shlex.quote(module)}/op {quoted}")

    def must(self, module: str, words: str) -> dict[str, Any]:
        """Have a module run one operation that has to go well."""
        answer = self.op(module, words)
        assert answer["ok"], f"{module}: {words}: {answer.get('errno')}"
        return answer

    def loaded(self, name: str) -> bool:
        """Whether the kernel has the module."""
        return any(line.split(" ", 1)[0] == name for line in self.read("/proc/modules").splitlines())

    # Load

    def swap_on(self) -> None:
        """Make the swap disk a swap area and use it."""
        self.run("mkswap /dev/swap > /dev/null && swapon /dev/swap", seconds=20)

    def swap_off(self) -> None:
        """Stop using the swap disk; everything on it is read back first."""
        self.run("swapoff /dev/swap", seconds=60)

    # Judging

    def prove(self, condition: bool, what: str) -> None:
        """The run shows nothing unless ``condition`` holds: without it, it is broken, not passed."""
        if not condition:
            raise Vacuous(f"not proved: {what}")

    def expect_report(self, kind: Kind, at: str | None = None, count: int | None = None) -> None:
        """The kernel has to say this by the end; without it the scenario fails."""
        self.expectations.expect_report(kind, at=at, count=count)

    def allow_report(self, kind: Kind, at: str | None = None, *, reason: str) -> None:
        """The kernel may say this; ``reason`` says why that is all right."""
        self.expectations.allow_report(kind, at=at, reason=reason)

    @property
    def oom(self) -> Fate:
        """Whether the OOM killer must not, may, or has to kill something."""
        return self.expectations.oom

    @oom.setter
    def oom(self, fate: Fate | str) -> None:
        self.expectations.oom = Fate(fate)

    def reports(self) -> list[Report]:
        """What the kernel has reported so far, the last report as far as its end.

        Another CPU may print what a command had the kernel report, and be at it when the command is done.
        """
        self._catch_up()
        seen = self._machine.console.read_bytes()
        while _ends_in_report(seen) and self._machine.is_alive() and not self._deadline.expired:
            time.sleep(QUIET_SECONDS)
            before, seen = seen, self._machine.console.read_bytes()
            if len(seen) == len(before):
                break
        return parse(seen)

    def console(self) -> str:
        """What the kernel has said so far."""
        self._catch_up()
        return self._machine.console.read_text(encoding="utf-8", errors="replace")

    def _catch_up(self) -> None:
        """Have the console show all that was said so far: a thread of the kernel's writes it, in order."""
        if not self._machine.is_alive():
            return  # what it said is there
        self._heard += 1
        mark = f"harness: heard {self._heard}"
        self.run(f"echo '<6>{mark}' > /dev/kmsg")
        seconds = CONSOLE_SECONDS * self._machine.slowdown
        deadline = self._deadline.within(seconds, "the console shows what was said")
        if not self._machine.await_console(mark, deadline):
            deadline.check()


def _ends_in_report(console: bytes) -> bool:
    parser = ConsoleParser()
    parser.feed(console)
    return bool(parser.pending())


def _refusal(answer: Mapping[str, Any]) -> str | None:
    return None if answer["ok"] else str(answer["errno"])
