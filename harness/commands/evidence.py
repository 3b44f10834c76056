# SPDX-License-Identifier: GPL-2.0-only
"""The folder that a run leaves its evidence in."""

from __future__ import annotations

import os
import time
from pathlib import Path

from harness.errors import InfrastructureError
from harness.settings import run_dir


def new_evidence_dir() -> Path:
    """A new folder for a run, and ``latest`` pointing to it."""
    folder = run_dir()
    try:
        while not _made(folder):
            time.sleep(0.001)
            folder = run_dir()
        latest = folder.with_name(f".latest.{os.getpid()}")
        latest.symlink_to(folder.name)
        latest.replace(folder.with_name("latest"))
    except OSError as error:
        raise InfrastructureError(
            f"cannot write evidence to {folder}: {error.strerror}", "name a folder with HARNESS_EVIDENCE"
        ) from error
    return folder


def _made(folder: Path) -> bool:
    """Make the folder; False when a run that began in the same millisecond has it already."""
    try:
        folder.mkdir(parents=True)
    except FileExistsError:
        return False
    return True
