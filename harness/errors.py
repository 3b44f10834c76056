# SPDX-License-Identifier: GPL-2.0-only
"""What can go wrong, sorted by whose fault it is.

Every error carries one sentence that says what is wrong and, where there is something to do about
it, one that says what. The command line prints both and exits with ``exit_code``; a traceback that
reaches a user is a defect of the harness.
"""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar, Final

EXIT_PASSED: Final = 0
EXIT_FAILED: Final = 1
EXIT_USAGE: Final = 2
EXIT_BROKEN: Final = 3
EXIT_INTERRUPTED: Final = 130


class HarnessError(Exception):
    """Anything the harness knows how to explain.

    ``what`` says what is wrong, ``todo`` what to do about it, ``evidence`` where to read on.
    """

    exit_code: ClassVar[int] = EXIT_BROKEN

    def __init__(self, what: str, todo: str = "", evidence: Path | None = None) -> None:
        super().__init__(what)
        self.what = what
        self.todo = todo
        self.evidence = evidence

    def __str__(self) -> str:
        parts = [self.what]
        if self.todo:
            parts.append(self.todo)
        if self.evidence is not None:
            parts.append(f"see {self.evidence}")
        return "; ".join(parts)

    def __reduce__(self) -> tuple[type[HarnessError], tuple[str, str, Path | None]]:
        return type(self), (self.what, self.todo, self.evidence)


class UserError(HarnessError):
    """What the user gave cannot be used: a name, a tree, a patch, a module that does not compile."""

    exit_code = EXIT_USAGE


class InfrastructureError(HarnessError):
    """The harness, the host or QEMU failed; it says nothing about the kernel."""

    exit_code = EXIT_BROKEN


class DeadlineExpired(InfrastructureError):
    """Something did not happen in the time it was given."""


class GuestLost(InfrastructureError):
    """The machine went away while somebody was talking to it; the console says whose fault it was."""


class KernelCrashed(HarnessError):
    """The kernel under test said that it crashed, or took the machine down."""

    exit_code = EXIT_FAILED


class Vacuous(InfrastructureError):
    """A scenario could not prove that what it is about did happen: neither passed nor failed."""
