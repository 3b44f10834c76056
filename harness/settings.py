# SPDX-License-Identifier: GPL-2.0-only
"""Where things are, and what the user may set. Everything else is derived.

Settings come from the environment, so that make, pytest and CI hand them on without a word:

``HARNESS_CACHE``      the cache (default ``$XDG_CACHE_HOME/rust-mm-harness`` or ``~/.cache/rust-mm-harness``)
``HARNESS_EVIDENCE``   where runs leave their evidence (default ``evidence`` in the current directory)
``HARNESS_MIRROR``     the Debian mirror (default: the one this machine's apt is set up with)
``HARNESS_JOBS``       compile jobs at once (default: the number of processors)
``HARNESS_ACCEL``      ``kvm`` or ``tcg`` (default: KVM when a kernel was seen to boot under it)
``HARNESS_ROOT``       a directory with a toolchain of your own in place of the build root
"""

from __future__ import annotations

import os
from datetime import datetime
from pathlib import Path
from typing import Final

from harness.errors import UserError

PROJECT: Final = Path(__file__).resolve().parent.parent
"""The checkout: kernel-config, modules, guests and tests are read from here."""


def cache_dir() -> Path:
    """The cache's folder; it may not exist yet."""
    if chosen := os.environ.get("HARNESS_CACHE"):
        return Path(chosen).expanduser().absolute()
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "rust-mm-harness"


def evidence_dir() -> Path:
    """The folder below which each run makes one of its own."""
    return Path(os.environ.get("HARNESS_EVIDENCE") or "evidence").absolute()


def run_dir() -> Path:
    """Where a run that begins now leaves its evidence; not made yet."""
    return evidence_dir() / datetime.now().strftime("%Y%m%d-%H%M%S.%f")[:-3]


def mirror() -> str | None:
    """The Debian mirror that the user named, if any."""
    return os.environ.get("HARNESS_MIRROR") or None


def own_root() -> Path | None:
    """The user's own toolchain root, if one is named."""
    chosen = os.environ.get("HARNESS_ROOT")
    return Path(chosen).absolute() if chosen else None


def jobs() -> int:
    """How many compile jobs run at once."""
    chosen = os.environ.get("HARNESS_JOBS")
    if chosen is None:
        return len(os.sched_getaffinity(0))
    if not chosen.isdigit() or int(chosen) < 1:
        raise UserError(f"HARNESS_JOBS is {chosen!r}", "give a whole number of 1 or more")
    return int(chosen)


def accel() -> str | None:
    """``kvm`` or ``tcg`` when the user insists, else None."""
    chosen = os.environ.get("HARNESS_ACCEL")
    if chosen not in (None, "", "kvm", "tcg"):
        raise UserError(f"HARNESS_ACCEL is {chosen!r}", "give kvm or tcg")
    return chosen or None
