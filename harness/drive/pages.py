# SPDX-License-Identifier: GPL-2.0-only
"""The workload: a process in the guest that owns pages and knows what should be in them.

The other end is ``guests/pages.c``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from harness.errors import GuestLost, Vacuous

if TYPE_CHECKING:
    from harness.drive.guest import Guest


@dataclass(frozen=True, slots=True)
class Where:
    """Where a workload's pages are; all numbers are pages.

    ``cached`` of those ``swapped`` are still in the swap cache: unmapped, and perhaps not even written.
    """

    pages: int
    swapped: int
    present: int
    cached: int


class Pages:
    """A workload process. It lives in the control group ``load``, which may swap; all else may not."""

    def __init__(self, guest: Guest, name: str, cgroup: str = "load") -> None:
        self._guest = guest
        self.name = name
        self.mapped = 0
        # Unlike what serves the harness, it can be killed: with nobody to kill the kernel panics.
        guest.run(
            f"(echo 0 > /sys/fs/cgroup/{cgroup}/cgroup.procs && echo 0 > /proc/self/oom_score_adj"
            f" && exec pages serve {name})"
        )

    def ask(self, words: str, *, seconds: float = 10.0) -> dict[str, Any]:
        """Have the process do ``words`` and answer. Raises :class:`GuestLost` when it is gone."""
        answer = self._guest.json(f"pages ask {self.name} {words}", seconds=seconds)
        if not answer["ok"]:
            if answer.get("errno") == "ESRCH":
                raise GuestLost(f"the workload {self.name} is gone", "was it killed for memory?")
            raise Vacuous(f"the workload could not {words}: {answer.get('errno')}")
        return answer

    def map(self, pages: int) -> None:
        """Map ``pages`` anonymous pages in place of what was mapped before; none is present yet."""
        self.ask(f"map {pages}")
        self.mapped = pages

    def fill(self, seed: int, low: int, high: int) -> None:
        """Write every page: its first ``low`` to ``high`` bytes are random, the rest is zero."""
        self.ask(f"fill {seed} {low} {high}")

    def pageout(self) -> None:
        """Ask the kernel to reclaim the pages (MADV_PAGEOUT)."""
        self.ask("pageout")

    def where(self) -> Where:
        """How many pages are swapped and how many present (/proc/self/pagemap, mincore(2))."""
        answer = self.ask("where")
        return Where(answer["pages"], answer["swapped"], answer["present"], answer["cached"])

    def swapped(self) -> int:
        return self.where().swapped

    def verify(self) -> int:
        """Read every page, which swaps it in, and count those whose content is not as filled."""
        answer = self.ask("verify")
        if answer["pages"] != self.mapped:
            raise Vacuous(f"{answer['pages']} pages were read, {self.mapped} are mapped")
        return int(answer["wrong"])

    def spoil(self, page: int) -> None:
        """Change one bit of a page, which :meth:`verify` has to notice: proof that it looks."""
        self.ask(f"spoil {page}")

    def touch(self) -> None:
        """Read every page without looking at its content."""
        self.ask("touch")

    def unmap(self) -> None:
        """Give the pages back, wherever they are."""
        self.ask("unmap")
        self.mapped = 0

    def hold(self, pages: int, spare: int = 0) -> int:
        """Take ``pages`` more, present and locked, and say how many are held: memory pressure.

        ``spare`` of them are given back at once: room for who wants to know what the pressure did.
        """
        return int(self.ask(f"hold {pages} {spare}", seconds=30)["held"])

    def release(self) -> None:
        """Give back what is held."""
        self.ask("release")

    def exit(self) -> None:
        """End the process."""
        self.ask("exit")
        self.mapped = 0

    def push_out(self, *, tries: int = 50) -> None:
        """Have all pages reclaimed, to where nothing but a store brings them back from.

        Asks again while some are in a CPU's batches of the LRU lists, or on their way to the disk, or
        unmapped only. Raises :class:`Vacuous` when some stay.
        """
        for _ in range(tries):
            self.pageout()
            where = self.where()
            if where.swapped == self.mapped and not where.cached:
                return
        raise Vacuous(
            f"{where.swapped} of {self.mapped} pages went out, {where.cached} of them to the swap cache only,"
            f" {where.present} are still present"
        )
