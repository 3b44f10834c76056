# SPDX-License-Identifier: GPL-2.0-only
"""What the user sees while work takes long.

On a terminal every step is a bar with the time it has taken; elsewhere (CI, a pipe) a step is one
plain line on standard error, written when it begins and finished when it ends. What is found in the
cache is no step and says nothing.
"""

from __future__ import annotations

import sys
import time
from threading import RLock
from types import TracebackType
from typing import Protocol, Self, TextIO

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, SpinnerColumn, TaskID, TaskProgressColumn, TextColumn, TimeElapsedColumn
from rich.progress import Progress as Bars

SHORT_SECONDS = 0.3
"""A step that took no longer leaves no line behind on a terminal."""


class _Display(Protocol):
    """Where steps are shown. Methods may be called from any thread."""

    def begin(self, step: Step) -> None: ...

    def change(self, step: Step) -> None: ...

    def end(self, step: Step, failed: bool) -> None: ...

    def close(self) -> None: ...


class Step:
    """One piece of work with a beginning, an end and, when it is known, an amount."""

    def __init__(self, display: _Display, what: str, total: int | None) -> None:
        self._display = display
        self.what = what
        self.total = total
        self.done = 0
        self.note = ""
        self.started = 0.0
        self.seconds = 0.0

    def advance(self, n: int = 1) -> None:
        """Another ``n`` units are done."""
        self.update(done=self.done + n)

    def update(self, *, done: int | None = None, total: int | None = None, note: str | None = None) -> None:
        """Say how far the work is; what is left out stays as it was."""
        self.done = self.done if done is None else done
        self.total = self.total if total is None else total
        self.note = self.note if note is None else note
        self._display.change(self)

    def __enter__(self) -> Self:
        self.started = time.monotonic()
        self._display.begin(self)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.seconds = time.monotonic() - self.started
        self._display.end(self, failed=kind is not None)


class Progress:
    """The steps of one command. Use as a context manager, so that a terminal is left tidy."""

    def __init__(self, stream: TextIO | None = None, *, display: _Display | None = None) -> None:
        out = sys.stderr if stream is None else stream
        self._display = display or (_Terminal(out) if out.isatty() else _Plain(out))

    def step(self, what: str, total: int | None = None) -> Step:
        """A step to be entered with ``with``; ``total`` is its amount when that is known."""
        return Step(self._display, what, total)

    def close(self) -> None:
        self._display.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def quiet() -> Progress:
    """Progress that says nothing: for tests and for workers whose parent does the talking."""
    return Progress(display=_Silent())


class _Silent:
    def begin(self, step: Step) -> None:
        pass

    def change(self, step: Step) -> None:
        pass

    def end(self, step: Step, failed: bool) -> None:
        pass

    def close(self) -> None:
        pass


class _Plain:
    """One line a step. A line that another step cut short is begun again when it ends."""

    def __init__(self, out: TextIO) -> None:
        self._out = out
        self._open: Step | None = None
        self._lock = RLock()

    def begin(self, step: Step) -> None:
        with self._lock:
            self._newline()
            self._write(f"{step.what} ... ")
            self._open = step

    def change(self, step: Step) -> None:
        pass

    def end(self, step: Step, failed: bool) -> None:
        with self._lock:
            if self._open is not step:
                self._newline()
                self._write(f"{step.what} ... ")
            self._write(f"{'stopped after' if failed else 'done in'} {step.seconds:.1f} s\n")
            self._open = None

    def close(self) -> None:
        with self._lock:
            self._newline()

    def _newline(self) -> None:
        if self._open is not None:
            self._write("\n")
            self._open = None

    def _write(self, text: str) -> None:
        self._out.write(text)
        self._out.flush()


class _Terminal:
    """A bar a step, drawn by rich; it is only on the screen while a step is running."""

    def __init__(self, out: TextIO) -> None:
        self._bars = Bars(
            SpinnerColumn(),
            TextColumn("{task.description}"),
            BarColumn(bar_width=24),
            TaskProgressColumn(),
            TimeElapsedColumn(),
            TextColumn("[dim]{task.fields[note]}"),
            console=Console(file=out),
            transient=True,
        )
        self._tasks: dict[Step, TaskID] = {}
        self._lock = RLock()

    def begin(self, step: Step) -> None:
        with self._lock:
            if not self._tasks:
                self._bars.start()
            self._tasks[step] = self._bars.add_task(escape(step.what), total=step.total, note="")

    def change(self, step: Step) -> None:
        with self._lock:
            task = self._tasks.get(step)
            if task is not None:
                note = escape(step.note[-60:])
                self._bars.update(task, completed=step.done, total=step.total, note=note)

    def end(self, step: Step, failed: bool) -> None:
        with self._lock:
            task = self._tasks.pop(step, None)
            if task is None:
                return
            self._bars.remove_task(task)
            if failed:
                self._bars.console.print(f"[red]✗[/red] {escape(step.what)} ({step.seconds:.1f} s)")
            elif step.seconds > SHORT_SECONDS:
                self._bars.console.print(f"[green]✓[/green] {escape(step.what)} ({step.seconds:.1f} s)")
            if not self._tasks:
                self._bars.stop()

    def close(self) -> None:
        with self._lock:
            self._tasks.clear()
            self._bars.stop()
