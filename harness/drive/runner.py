# SPDX-License-Identifier: GPL-2.0-only
"""One scenario from its clone to its verdict, with the evidence written on the way."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final

from harness.boot.payload import UNPACK
from harness.deadline import Deadline
from harness.drive.guest import RESULTS, SAMPLE_MS, Guest
from harness.errors import HarnessError, KernelCrashed
from harness.judge import checks, operations
from harness.judge.dmesg import ConsoleParser, Report
from harness.judge.lines import tail_lines
from harness.judge.marks import Edge, console_doubts, mark_text, missing_marks
from harness.judge.meminfo import Stream, read_stream
from harness.judge.verdict import Result, Verdict, settle
from harness.judge.witness import silence_doubts

if TYPE_CHECKING:
    from harness.boot.machine import Machine
    from harness.drive.scenario import Scenario
    from harness.drive.workbench import Workbench
    from harness.targets import Target

END_SECONDS: Final = 5.0
LEAST_SAMPLES: Final = 2
"""One is taken when the sampling begins and one when it ends."""


class ScenarioRun:
    """A scenario on a target: :meth:`start`, drive the guest, :meth:`settle`, :meth:`stop`."""

    def __init__(self, scenario: Scenario, target: Target, bench: Workbench, root: Path) -> None:
        self.scenario = scenario
        self.target = target
        self._bench = bench
        self._root = root
        self.evidence = root / target.name / scenario.id
        self._machine: Machine | None = None
        self._guest: Guest | None = None
        self._started = time.monotonic()

    def start(self) -> Guest:
        """Get a guest, unpack the scenario's modules in it, and start sampling."""
        scenario, target = self.scenario, self.target
        template = self._bench.template(target, scenario.cmdline_on(target))
        payload = self._bench.payload(target, scenario.modules)
        self.evidence.mkdir(parents=True, exist_ok=True)
        self._write_about()
        self._started = time.monotonic()
        deadline = Deadline.after(scenario.seconds, f"scenario {scenario.id}", slowdown=template.slowdown)
        self._machine = self._bench.machine(template, self.evidence, payload, deadline)
        self._guest = Guest(
            self._machine,
            target,
            scenario,
            deadline,
            self.evidence / "commands.log",
            self._bench.build_ids(target, scenario.modules),
        )
        self._guest.run(
            f"echo '{mark_text(Edge.BEGIN, scenario.id)}' > /dev/kmsg; "
            f"{UNPACK} && echo @every {SAMPLE_MS} > {RESULTS}"
        )
        return self._guest

    def settle(self, error: BaseException | None) -> Result:
        """End the run, judge it, write the evidence. ``error`` is what the scenario raised, if anything."""
        machine = self._machine
        if machine is None or self._guest is None:
            verdict, reason = _never_started(error)
            return self._result(verdict, reason)
        if machine.is_alive():
            self._end(machine, error)
        console = machine.console.read_bytes()
        parser = ConsoleParser()
        reports = (*parser.feed(console), *parser.finish())
        samples = machine.results.data
        (self.evidence / "samples.txt").write_bytes(samples)
        self._write_operations(machine, self._guest)
        stream = read_stream(samples)
        doubts = console_doubts(parser.marks, parser.dropped, self.scenario.id)
        # A guest that died of what it was expected to die of has no last sample to give.
        alive = machine.is_alive()
        if alive:
            doubts += silence_doubts(stream.objects, reports)
        verdict, reason = settle(
            error,
            reports,
            self._guest.expectations,
            end_marker=not missing_marks(parser.marks, self.scenario.id),
            exit_reason=machine.exit_reason,
            doubts=doubts,
        )
        if verdict is Verdict.PASSED and alive:
            verdict, reason = _weigh_samples(stream, self.target, reason)
        return self._result(verdict, reason, reports, () if reports else tuple(tail_lines(console)))

    def stop(self) -> None:
        """Kill the guest. Evidence stays."""
        if self._machine is not None:
            self._machine.stop()

    def _end(self, machine: Machine, error: BaseException | None) -> None:
        """Have the guest say that it came to the end, and wait until the console shows that.

        A guest that cannot is not an error here: the missing mark speaks for itself.
        """
        deadline = Deadline.after(END_SECONDS, "the guest says that it is done", slowdown=machine.slowdown)
        mark = mark_text(Edge.END, self.scenario.id)
        try:
            machine.shell.run(
                f"echo @every 0 > {RESULTS}; echo @exit > {RESULTS}; echo '{mark}' > /dev/kmsg",
                deadline=deadline,
                check=False,
            )
            machine.results.wait_for(b"@exit\n", deadline)
        except HarnessError:
            if error is None:
                return
        machine.await_console(mark.partition(">")[2], deadline)

    def _write_operations(self, machine: Machine, guest: Guest) -> None:
        """What the guest was told to do, on the clock of its samples."""
        arrivals = ((line.at, line.text) for line in machine.results.lines())
        offset = operations.clock_offset(arrivals)
        if offset is None:  # it never sampled: count from the start
            offset = -self._started
        document = operations.as_document(guest.operations, offset)
        (self.evidence / operations.FILE).write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")

    def _write_about(self) -> None:
        """What is in the guest: enough to build the same again and to decode its stacks."""
        kernel = self._bench.artefacts(self.target).kernel
        about = {
            "kernel": {"release": kernel.release, "version": kernel.version, "build": str(kernel.build_dir)},
            "modules": self._bench.build_ids(self.target, self.scenario.modules),
            "files": {name: str(self._bench.module(self.target, name).ko) for name in self.scenario.modules},
            "cmdline": list(self.scenario.cmdline_on(self.target)),
        }
        (self.evidence / "about.json").write_text(json.dumps(about, indent=1) + "\n", encoding="utf-8")

    def _result(
        self,
        verdict: Verdict,
        reason: str,
        reports: tuple[Report, ...] = (),
        lines: tuple[str, ...] = (),
    ) -> Result:
        return Result(
            scenario=self.scenario.id,
            target=self.target.name,
            verdict=verdict,
            reason=reason,
            seconds=time.monotonic() - self._started,
            evidence=str(self.evidence.relative_to(self._root)),
            reports=reports,
            claim=self.scenario.claim,
            thread=self.scenario.thread,
            lines=lines,
        )


def _weigh_samples(stream: Stream, target: Target, reason: str) -> tuple[Verdict, str]:
    """A scenario that passed by itself still has to leave numbers that do not contradict each other."""
    if not stream.exited or len(stream.samples) < LEAST_SAMPLES:
        return Verdict.BROKEN, f"only {len(stream.samples)} samples of the kernel's counters arrived"
    if stream.problems:
        return Verdict.BROKEN, f"the samples of the kernel's counters are garbled: {stream.problems[0]}"
    series = stream.series()
    problems = [
        *checks.mem_total_constant(series),
        *checks.high_and_low_add_up(series),
        *checks.counters_never_decrease(series),
        *checks.zswap_agrees(series, target.arch.page_size),
        *checks.stored_fits_swap(series, target.arch.page_size),
    ]
    wrong = [str(problem) for problem in problems if not problem.vacuous]
    if wrong:
        return Verdict.FAILED, f"the kernel's counters contradict each other: {wrong[0]}"
    return Verdict.PASSED, reason


def impossible(scenario: Scenario, target: Target, why: str) -> Result:
    """The result of a scenario that ``target`` cannot show."""
    return Result(
        scenario.id,
        target.name,
        Verdict.IMPOSSIBLE,
        why,
        0.0,
        "",
        claim=scenario.claim,
        thread=scenario.thread,
    )


def _never_started(error: BaseException | None) -> tuple[Verdict, str]:
    """A guest that never came up: the kernel's fault if it said so, else somebody else's."""
    verdict = Verdict.CRASHED if isinstance(error, KernelCrashed) else Verdict.BROKEN
    return verdict, str(error) or "the guest did not start"
