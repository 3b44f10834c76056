# SPDX-License-Identifier: GPL-2.0-only
"""How much memory a guest has free, to the page.

``MemFree`` leaves out the free pages that each CPU keeps at hand (the pagesets, mm/page_alloc.c): up to
an eighth of all memory moves there and back, a hundred pages at once, while nobody allocates or frees
anything for good. /proc/zoneinfo shows both of a zone while it holds the zone's lock (mm/vmstat.c
walk_zones_in_node()): pages on their way are not counted twice, as they can be in two files.
"""

from __future__ import annotations

import re
from typing import Final

from harness.drive.guest import Guest

HIGHMEM: Final = "HighMem"
_ZONE: Final = re.compile(r"^Node \d+, zone +", re.MULTILINE)
_FREE: Final = re.compile(r"^(?: {2}pages free| +count:) +(\d+)$", re.MULTILINE)


def free_pages(zoneinfo: str, zone: str = "") -> int:
    """The free pages of all zones, or of one, and of all CPUs' pagesets, by /proc/zoneinfo."""
    zones = (text for text in _ZONE.split(zoneinfo) if text.startswith(zone))
    return sum(int(count) for text in zones for count in _FREE.findall(text))


def free_bytes(guest: Guest, zone: str = "") -> int:
    """All free memory, or that of one zone, in bytes. A zone that is not there has none."""
    return free_pages(guest.read("/proc/zoneinfo"), zone) * guest.target.arch.page_size
