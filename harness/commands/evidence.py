# SPDX-License-Identifier: GPL-2.0-only
"""The folder that a run leaves its evidence in."""

from __future__ import annotations

import os
from datetime import datetime
from pathlib import Path

from harness.errors import InfrastructureError
from harness.settings import evidence_dir


def new_evidence_dir() -> Path:
    """A new folder for a run, and ``latest`` pointing to it."""
    root = evidence_dir()
    stamp = datetime.now().strftime("%Y%m%d-%H%M%S.%f")[:-3]
    folder = root / stamp
    try:
        folder.mkdir(parents=True)
        latest = root / f".latest.{os.getpid()}"
        latest.symlink_to(stamp)
        latest.replace(root / "latest")
    except OSError as error:
        raise InfrastructureError(
            f"cannot write evidence to {folder}: {error.strerror}", "name a folder with HARNESS_EVIDENCE"
        ) from error
    return folder
