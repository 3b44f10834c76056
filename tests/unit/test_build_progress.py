# SPDX-License-Identifier: GPL-2.0-only
"""What progress writes where there is no terminal, and where there is one."""

from __future__ import annotations

import io
import re

import pytest

from harness.progress import Progress, quiet


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_step_is_one_line() -> None:
    out = io.StringIO()
    with Progress(out) as progress, progress.step("compiling", total=3) as step:
        step.advance()
        step.update(done=2, note="mm/[zswap].o")
    assert re.fullmatch(r"compiling \.\.\. done in \d+\.\d s\n", out.getvalue())
    assert (step.done, step.total, step.note) == (2, 3, "mm/[zswap].o")


def test_steps_within_steps_stay_readable() -> None:
    out = io.StringIO()
    with Progress(out) as progress, progress.step("outer"), progress.step("inner"):
        pass
    assert re.sub(r"\d+\.\d", "T", out.getvalue()) == (
        "outer ... \ninner ... done in T s\nouter ... done in T s\n"
    )


def test_a_step_that_fails_says_so_and_does_not_swallow() -> None:
    out = io.StringIO()
    with pytest.raises(KeyboardInterrupt), Progress(out) as progress, progress.step("compiling"):
        raise KeyboardInterrupt
    assert "stopped after" in out.getvalue()


def test_a_terminal_survives_markup_and_is_left_tidy() -> None:
    out = Terminal()
    with Progress(out) as progress, progress.step("module [red]x[/", total=10) as step:
        step.update(done=20, note="[/bold] odd [")
        step.started -= 1
    assert "✓" in out.getvalue()
    assert "module [red]x[/" in out.getvalue()


def test_quiet_is_silent(capsys: pytest.CaptureFixture[str]) -> None:
    with quiet() as progress, progress.step("x") as step:
        step.advance()
    assert capsys.readouterr() == ("", "")
