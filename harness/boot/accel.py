# SPDX-License-Identifier: GPL-2.0-only
"""Whether KVM is of any use here. Only a boot proves it.

/dev/kvm can exist, open, and create a machine, and yet no kernel gets past the firmware. So the
kernel under test is booted once under KVM; the outcome is remembered for this host, its boot and the
kernel.
"""

from __future__ import annotations

import json
import os
import platform
from pathlib import Path
from typing import TYPE_CHECKING, Final

from harness import settings
from harness.boot import machine
from harness.build.store import Store, digest
from harness.deadline import Deadline
from harness.errors import HarnessError, InfrastructureError
from harness.progress import Progress

if TYPE_CHECKING:
    from harness.build.artefacts import Artefacts

KVM: Final = Path("/dev/kvm")
PROOF_SECONDS: Final = 6.0
"""A kernel is at its shell in 1 s under KVM; one that takes longer than this gains little by it."""
_OUTCOME: Final = "outcome.json"
_KEEP: Final = 16


def choose(artefacts: Artefacts, store: Store, progress: Progress) -> str:
    """``kvm`` or ``tcg`` for the target's machines. HARNESS_ACCEL decides when it is set."""
    if (insisted := settings.accel()) is not None:
        if insisted == "kvm" and (why := unusable(artefacts)):
            raise InfrastructureError(f"HARNESS_ACCEL asks for KVM, but {why}", "unset it, or set it to tcg")
        return insisted
    if unusable(artefacts):
        return "tcg"
    return "kvm" if proved(artefacts, store, progress) is None else "tcg"


def unusable(artefacts: Artefacts) -> str:
    """Why KVM cannot be tried at all; empty when it can."""
    wanted = artefacts.target.arch.kvm_host
    if platform.machine() != wanted:
        return f"KVM runs {artefacts.target.arch.name} guests on {wanted} hosts only"
    if not KVM.exists():
        return f"there is no {KVM}"
    if not os.access(KVM, os.R_OK | os.W_OK):
        return f"{KVM} cannot be opened by this user (add the user to the group kvm)"
    return ""


def proved(artefacts: Artefacts, store: Store, progress: Progress) -> str | None:
    """None when the target's kernel boots under KVM here, else what happened instead."""
    key = digest("accel", host_key(), artefacts.kernel.key, artefacts.root.key)

    def prove(directory: Path) -> None:
        with progress.step("KVM: does a kernel boot under it?"):
            why = _try(artefacts, directory)
        (directory / _OUTCOME).write_text(json.dumps({"why": why}) + "\n", encoding="utf-8")

    directory = store.make("accel", key, prove)
    store.forget("accel", keep=_KEEP)
    why = json.loads((directory / _OUTCOME).read_text(encoding="utf-8"))["why"]
    return None if why is None else str(why)


def host_key() -> str:
    """This host, since it was started."""
    boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    return digest("host", platform.release(), platform.version(), boot)


def _try(artefacts: Artefacts, directory: Path) -> str | None:
    """Boot under KVM once; None when the shell answered, else why not in a few words."""
    deadline = Deadline.after(PROOF_SECONDS, "a kernel boots under KVM")
    try:
        with machine.boot(artefacts, directory, deadline, accel="kvm"):
            return None
    except HarnessError as error:
        return error.what.splitlines()[0][:200]
