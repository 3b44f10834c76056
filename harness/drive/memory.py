# SPDX-License-Identifier: GPL-2.0-only
"""How much memory a guest has free, to the page.

``MemFree`` leaves out the free pages that each CPU keeps at hand (the pagesets, mm/page_alloc.c): up to
an eighth of all memory moves there and back while nobody allocates or frees anything for good.
"""

from __future__ import annotations

import re
from typing import Final

from harness.drive.guest import Guest
from harness.judge.meminfo import parse_meminfo

_COUNT: Final = re.compile(r"^\s+count:\s+(\d+)$", re.MULTILINE)


def pages_at_hand(zoneinfo: str) -> int:
    """The free pages in all CPUs' pagesets, by /proc/zoneinfo."""
    return sum(int(count) for count in _COUNT.findall(zoneinfo))


def free_bytes(guest: Guest) -> int:
    """All free memory, in bytes: ``MemFree`` and what the CPUs keep at hand."""
    # Both in one go: less happens between them.
    text = guest.run("cat /proc/zoneinfo /proc/meminfo").text
    return parse_meminfo(text)["MemFree"] + pages_at_hand(text) * guest.target.arch.page_size
