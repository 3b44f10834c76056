# SPDX-License-Identifier: GPL-2.0-only
"""``harness report``: make the reports of a run again from its results and evidence."""

from __future__ import annotations

from pathlib import Path

from harness.errors import UserError
from harness.report import every
from harness.settings import evidence_dir


def make_again(folder: Path | None) -> list[Path]:
    """Make the reports of the run in ``folder``, or of the latest one; returns the files written.

    Raises UserError when there is no such run.
    """
    chosen = folder if folder is not None else evidence_dir() / "latest"
    if not chosen.is_dir():
        what = "there is no run yet" if folder is None else f"{folder} is no folder"
        raise UserError(what, "harness run makes one; or name the folder of a run")
    return every.again(chosen.resolve())
