# SPDX-License-Identifier: GPL-2.0-only
"""Time that runs out, as an object that is handed down.

Nothing in the harness waits without one. A guest under emulation is slower than the machine it runs
on by a factor that is measured once at boot; whoever makes a deadline for a guest scales it by that.
"""

from __future__ import annotations

import time
from dataclasses import dataclass

from harness.errors import DeadlineExpired


@dataclass(frozen=True, slots=True)
class Deadline:
    """A moment on the monotonic clock, and the words for what should have happened by then."""

    expires: float
    what: str

    @classmethod
    def after(cls, seconds: float, what: str, *, slowdown: float = 1.0) -> Deadline:
        """The moment ``seconds * slowdown`` from now."""
        return cls(time.monotonic() + seconds * max(slowdown, 1.0), what)

    @property
    def remaining(self) -> float:
        """Seconds left, never negative."""
        return max(0.0, self.expires - time.monotonic())

    @property
    def expired(self) -> bool:
        return time.monotonic() >= self.expires

    def within(self, seconds: float, what: str) -> Deadline:
        """A deadline of its own for one step, never later than this one."""
        return Deadline(min(self.expires, time.monotonic() + seconds), what)

    def check(self) -> None:
        """Raise :class:`DeadlineExpired` when the time is over."""
        if self.expired:
            raise DeadlineExpired(f"time is up: {self.what}")
