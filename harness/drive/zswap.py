# SPDX-License-Identifier: GPL-2.0-only
"""zswap in a guest: choosing a back end, and the counters that prove where pages went.

Parameters are those of ``mm/zswap.c`` under ``/sys/module/zswap/parameters``; the counters come from
``/sys/kernel/debug/zswap`` and ``/proc/vmstat``.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Final

from harness.errors import Vacuous
from harness.judge.meminfo import parse_vmstat

if TYPE_CHECKING:
    from harness.drive.guest import Guest

PARAMETERS: Final = "/sys/module/zswap/parameters"


@dataclass(frozen=True, slots=True)
class Counters:
    """What zswap counted, in pages unless the name says otherwise."""

    zswpout: int
    zswpin: int
    zswpwb: int
    pswpout: int
    pswpin: int
    swpout_zero: int
    swpin_zero: int
    stored_pages: int
    stored_incompressible_pages: int
    pool_total_size: int
    """Bytes."""
    pool_limit_hit: int
    """Times."""
    written_back_pages: int
    reject_reclaim_fail: int
    reject_alloc_fail: int
    reject_kmemcache_fail: int
    reject_compress_fail: int
    reject_compress_poor: int
    decompress_fail: int

    def since(self, before: Counters) -> Counters:
        """The difference, counter by counter."""
        return Counters(*(getattr(self, f.name) - getattr(before, f.name) for f in fields(self)))


class Zswap:
    """zswap of one guest."""

    def __init__(self, guest: Guest) -> None:
        self._guest = guest

    def enable(self) -> None:
        """Switch zswap on, with readahead and its own writeback off, so that counts are exact."""
        guest = self._guest
        guest.write_all(
            {
                "/proc/sys/vm/page-cluster": "0",
                f"{PARAMETERS}/shrinker_enabled": "N",
                f"{PARAMETERS}/enabled": "Y",
            }
        )
        if guest.read(f"{PARAMETERS}/enabled").strip() != "Y":
            raise Vacuous("zswap did not switch on")

    def use(self, backend: str) -> None:
        """Make ``backend`` the one that new pages are stored in, and read it back."""
        self._guest.write(f"{PARAMETERS}/zpool", backend)
        if (now := self.backend()) != backend:
            raise Vacuous(f"zswap uses {now} though it accepted {backend}")

    def backend(self) -> str:
        """The back end that new pages are stored in."""
        return self._guest.read(f"{PARAMETERS}/zpool").strip()

    def limit(self, percent: int) -> None:
        """The pool may take this much of the memory."""
        self._guest.write(f"{PARAMETERS}/max_pool_percent", str(percent))

    def counters(self) -> Counters:
        """All counters, read in one go."""
        values = parse_vmstat(self._guest.run("sample").text)
        try:
            return Counters(**{f.name: values[f.name] for f in fields(Counters)})
        except KeyError as missing:
            raise Vacuous(f"the kernel has no counter {missing}", "was zswap set up?") from None
