# SPDX-License-Identifier: GPL-2.0-only
"""``harness bench``: how fast a guest, a scenario and a rebuild are, and how much disk that takes.

Every figure stands beside one taken in the same run, because a shared machine's seconds mean little:
the ratio is what can be compared.
"""

from __future__ import annotations

import json
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final

import psutil
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from harness.boot.machine import boot
from harness.build.artefacts import own_modules
from harness.build.store import Store
from harness.deadline import Deadline
from harness.drive.catalogue import select
from harness.drive.workbench import Workbench
from harness.errors import InfrastructureError
from harness.judge import speed
from harness.progress import Progress
from harness.report.files import write_atomically
from harness.settings import PROJECT
from harness.targets import Detector, Target

CLONES: Final = 20
BOOTS: Final = 3
RUNS: Final = 3
ANSWER_SECONDS: Final = 60.0
COMMAND_SECONDS: Final = 3600.0
SCENARIO: Final = "Z06"
"""The one with the most work in its guest."""
COLD: Final = 4
COLD_SLOW: Final = 8
"""With sanitizers."""
JUDGE_GOALS: Final = {"judge, clean log": ">= 40 MB/s", "judge, log full of reports": ">= 10 MB/s"}
MAKE_SECONDS: Final = {"run": 45, "test": 300}
EDITED: Final = ("rust_zpool", "buckets.rs", "Z01")
"""The module and the file that get a changed line, and an ordinary scenario of it."""


@dataclass(frozen=True, slots=True)
class Figure:
    """One measure: ``value`` in ``unit``; ``beside`` is what it is held against, ``ratio`` beside/value."""

    name: str
    value: float
    unit: str
    beside: float | None = None
    goal: str = ""

    @property
    def ratio(self) -> float | None:
        return self.beside / self.value if self.beside is not None and self.value else None


def run_bench(chosen: Sequence[Target], out: Path | None, console: Console, *, long: bool) -> None:
    """Measure, print a table, and write ``out`` as JSON when it is given.

    ``long`` adds every scenario on the chosen targets, from clones and from cold boots, and ``make run`` and
    ``make test``: half an hour on two cores.
    """
    with Progress() as progress:
        bench = Workbench((), None, progress)
        for target in chosen:
            bench.template(target)
        figures = list(_measure(chosen, bench, progress, long))
    console.print(_table(figures))
    if out is not None:
        write_atomically(
            out, json.dumps({figure.name: _as_json(figure) for figure in figures}, indent=1) + "\n"
        )


def _measure(chosen: Sequence[Target], bench: Workbench, progress: Progress, long: bool) -> Iterator[Figure]:
    cold: dict[str, float] = {}
    for target in chosen:
        with progress.step(f"{target.name}: cold boots", BOOTS) as step:
            cold[target.name] = _median(BOOTS, partial(_cold_boot, target, bench), step.advance)
        with progress.step(f"{target.name}: clones", CLONES) as step:
            clone = _median(CLONES, partial(_clone, target, bench), step.advance)
        slow = target.profile.detectors - {Detector.HIGHMEM}
        yield Figure(
            f"{target.name}: cold boot", cold[target.name], "s", clone, f"<= {COLD_SLOW if slow else COLD} s"
        )
        yield Figure(f"{target.name}: clone to first output", clone, "s", cold[target.name], "<= 0.2 s")
    yield from _loop(chosen[0], cold[chosen[0].name], progress)
    with progress.step("judging"):
        judged = speed.measure()
    for log, rate in judged.items():
        yield Figure(log, rate, "MB/s", max(judged.values()), JUDGE_GOALS[log])
    if long:
        yield from _matrix(chosen, bench, progress)
        for goal, seconds in MAKE_SECONDS.items():
            with progress.step(f"make {goal}"):
                yield Figure(
                    f"make {goal}, cached", _make(goal), "s", cold[chosen[0].name], f"<= {seconds} s"
                )
    size = sum(Store().size().values())
    yield Figure("cache", size / 1e9, "GB", shutil.disk_usage(Store().root).free / 1e9)


def _loop(target: Target, cold: float, progress: Progress) -> Iterator[Figure]:
    """What somebody waits for who changes a line and looks again."""
    run = ["run", "-t", target.name, "-k", SCENARIO]
    with progress.step(f"harness run -k {SCENARIO}", RUNS) as step:
        scenario = _median(RUNS, lambda: _harness(*run), step.advance)
    yield Figure("one scenario", scenario, "s", cold, "<= 3 s")
    other = ["run", "-t", target.name, "-k", EDITED[2]]
    with progress.step(f"harness run -k {EDITED[2]}", RUNS) as step:
        unchanged = _median(RUNS, lambda: _harness(*other), step.advance)
    with progress.step("a changed line to its verdict", RUNS) as step, _edited_module() as edit:
        changed = _median(RUNS, lambda: _harness(*other, "--module", str(edit())), step.advance)
    yield Figure("changed line to verdict", changed, "s", unchanged, "<= 5 s")


def _matrix(chosen: Sequence[Target], bench: Workbench, progress: Progress) -> Iterator[Figure]:
    """Every scenario on every target: from clones, and with a boot for each; how busy the host was."""
    scenarios = [entry.scenario for entry in select(())]
    for target in chosen:
        bench.templates(target, scenarios)
    words = ["run", *(word for target in chosen for word in ("-t", target.name))]
    with progress.step("every scenario, from clones"):
        before = psutil.cpu_times()
        warm = _harness(*words)
        busy = _busy(before, psutil.cpu_times())
    with progress.step("every scenario, each booted"):
        cold = _harness(*words, "--cold")
    yield Figure("every scenario", warm, "s", cold, "<= 300 s, 1/4 of booting for each")
    yield Figure("processors busy meanwhile", 100 * busy, "%", goal=">= 85 %")


def _busy(before: Any, after: Any) -> float:
    """The part of the processors' time that was not idle (psutil's cpu_times, in seconds)."""
    spent = [late - early for early, late in zip(before, after, strict=True)]
    total = sum(spent) - (after.guest - before.guest) - (after.guest_nice - before.guest_nice)
    idle = (after.idle - before.idle) + (after.iowait - before.iowait)
    return float(1 - idle / total) if total else 0.0


def _median(times: int, once: Callable[[], float], done: Callable[[], None]) -> float:
    taken = []
    for _ in range(times):
        taken.append(once())
        done()
    return statistics.median(taken)


def _cold_boot(target: Target, bench: Workbench) -> float:
    """Seconds from starting QEMU to the output of the first command."""
    with tempfile.TemporaryDirectory() as evidence:
        started = time.monotonic()
        machine = boot(bench.artefacts(target), Path(evidence), _answer())
        return _first_output(machine.shell.run, machine.stop, started)


def _clone(target: Target, bench: Workbench) -> float:
    """Seconds from starting QEMU to the output of the first command, out of a frozen guest."""
    with tempfile.TemporaryDirectory() as evidence:
        template = bench.template(target)
        started = time.monotonic()
        machine = template.clone(Path(evidence), None, _answer())
        return _first_output(machine.shell.run, machine.stop, started)


def _first_output(run: Callable[..., object], stop: Callable[[], None], started: float) -> float:
    try:
        run("echo here", deadline=_answer())
        return time.monotonic() - started
    finally:
        stop()


def _answer() -> Deadline:
    return Deadline.after(ANSWER_SECONDS, "the guest answers")


def _harness(*words: str) -> float:
    """Seconds of a whole ``harness`` command, as somebody at a prompt would see them."""
    with tempfile.TemporaryDirectory() as folder:
        return _command([str(Path(sys.executable).parent / "harness"), *words], Path(folder))


def _make(goal: str) -> float:
    return _command(["make", "-C", str(PROJECT), goal], PROJECT)


def _command(argv: list[str], cwd: Path) -> float:
    started = time.monotonic()
    done = subprocess.run(
        argv, cwd=cwd, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=COMMAND_SECONDS
    )
    if done.returncode != 0:
        raise InfrastructureError(
            f"{' '.join(argv)} ended with {done.returncode}, so its time means nothing",
            (done.stderr + done.stdout).strip()[-1500:],
        )
    return time.monotonic() - started


@contextmanager
def _edited_module() -> Iterator[Callable[[], Path]]:
    """A copy of a module; each call changes a line of it and gives its directory."""
    name, file, _ = EDITED
    original = next(path for path in own_modules() if path.name == name)
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / name
        shutil.copytree(original, copy)

        def edit() -> Path:
            source = copy / file
            text = source.read_text(encoding="utf-8")
            source.write_text(f"{text}\nconst _: u64 = {time.monotonic_ns()};\n", encoding="utf-8")
            return copy

        yield edit


def _table(figures: list[Figure]) -> Table:
    grid = Table(
        "measure", "value", "beside", "ratio", "goal", box=SIMPLE_HEAD, show_edge=False, pad_edge=False
    )
    for figure in figures:
        beside = f"{figure.beside:.3g} {figure.unit}" if figure.beside is not None else ""
        ratio = f"{figure.ratio:.2f}" if figure.ratio is not None else ""
        grid.add_row(figure.name, f"{figure.value:.3g} {figure.unit}", beside, ratio, figure.goal)
    return grid


def _as_json(figure: Figure) -> dict[str, object]:
    return {
        "value": round(figure.value, 4),
        "unit": figure.unit,
        "beside": None if figure.beside is None else round(figure.beside, 4),
        "ratio": None if figure.ratio is None else round(figure.ratio, 3),
    }
