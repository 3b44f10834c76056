# SPDX-License-Identifier: GPL-2.0-only
"""Magic system requests: what a kernel does when it is asked on its console, if interrupts reach it.

Documentation/admin-guide/sysrq.rst: on a serial console a break, then the key.
"""

from __future__ import annotations

import os
import time
from typing import Final

from harness.boot.qmp import Qmp

_KEY_SECONDS: Final = 0.01
"""Between two keys: the guest's serial port takes the break before the key, not both at once."""


class SysRq:
    """The console's line into the guest. ``fd`` is the writing end of a pipe that QEMU reads; owned."""

    def __init__(self, qmp: Qmp, fd: int) -> None:
        self._qmp = qmp
        self._fd = fd

    def send(self, keys: str) -> None:
        """Have the kernel obey ``keys``. Raises :class:`InfrastructureError` when QEMU does not answer."""
        for key in keys:
            self._qmp.execute("chardev-send-break", {"id": "console"})
            os.write(self._fd, key.encode())
            time.sleep(_KEY_SECONDS)

    def close(self) -> None:
        """Give the line up. Again: nothing."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1
