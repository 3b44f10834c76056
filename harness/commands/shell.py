# SPDX-License-Identifier: GPL-2.0-only
"""``harness shell``: a person in a guest."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from harness.boot.payload import UNPACK
from harness.commands.evidence import new_evidence_dir
from harness.deadline import Deadline
from harness.drive.workbench import Workbench
from harness.progress import Progress
from harness.targets import Target

SHELL_SECONDS: Final = 20.0


def open_shell(target: Target, modules: Sequence[Path], tree: str | None) -> None:
    """A clone with every module in ``/modules``, and this terminal on its shell."""
    with Progress() as progress:
        bench = Workbench(modules, tree, progress)
        template = bench.template(target)
        payload = bench.payload(target, bench.module_names)
    evidence = new_evidence_dir()
    deadline = Deadline.after(SHELL_SECONDS, "a clone of the guest answers", slowdown=template.slowdown)
    machine = template.clone(evidence, payload, deadline)
    try:
        machine.shell.run(UNPACK, deadline=deadline)
        names = " ".join(bench.module_names)
        sys.stderr.write(f"{target.name}; /modules has {names}; the console is in {machine.console}\n")
        sys.stderr.write("load one with: modctl load /modules/NAME.ko; leave with exit or Ctrl-]\n")
        machine.shell.interact()
    finally:
        machine.stop()
