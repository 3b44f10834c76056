# SPDX-License-Identifier: GPL-2.0-only
"""All files that tell of a run, written beside its evidence, and written again from it."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from harness.judge.verdict import Result
from harness.report import decoding, junit, ktap, markdown, page, results
from harness.report.results import Run

STEP_SUMMARY: Final = "GITHUB_STEP_SUMMARY"
"""GitHub's name for the file that a step of a job adds its summary to."""
JUNIT: Final = "junit.xml"


def write(folder: Path, found: Sequence[Result], run: Run | None = None) -> list[Path]:
    """Write every file into ``folder``, the one with the evidence; returns what was written.

    Raises InfrastructureError when one cannot be written. results.json is the first: the others can be
    made from it.
    """
    results.write(folder / results.FILE, found, run)
    return [folder / results.FILE, *_derived(folder, found, run)]


def tell(folder: Path, found: Sequence[Result], run: Run | None = None) -> list[Result]:
    """What the end of a run has to tell: decode, write every file, add to the job's page.

    Returns the results with their stacks decoded, for who shows them. Raises InfrastructureError.
    """
    told = decoding.decoded(found, folder)
    write(folder, told, run)
    add_to_step(told, run)
    return told


def again(folder: Path) -> list[Path]:
    """Make the other files anew from ``folder``'s results.json. Raises UserError when that is missing."""
    found, run = results.read(folder / results.FILE)
    found = decoding.decoded(found, folder)
    return _derived(folder, found, run)


def add_to_step(found: Sequence[Result], run: Run | None = None) -> None:
    """Add the summary to GitHub's page of the job, when this is one."""
    if path := os.environ.get(STEP_SUMMARY):
        markdown.append(Path(path), found, run)


def _derived(folder: Path, found: Sequence[Result], run: Run | None) -> list[Path]:
    junit.write(folder / JUNIT, found)
    ktap.write(folder / ktap.FILE, found)
    markdown.write(folder / markdown.FILE, found, run)
    page.write(folder / page.FILE, found, run)
    return [folder / name for name in (JUNIT, ktap.FILE, markdown.FILE, page.FILE)]
