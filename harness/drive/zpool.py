# SPDX-License-Identifier: GPL-2.0-only
"""The module ``rust_zpool`` in a guest: a zpool back end in Rust that counts what it is asked to do.

What every scenario of the zpool thread (Vitaly Wool's patch, Danilo Krummrich's review) begins with.
zswap's side of it is the kernel's ``mm/zswap.c`` with the project's patch.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from harness.drive.pages import Pages
from harness.drive.zswap import PARAMETERS, Zswap

if TYPE_CHECKING:
    from harness.drive.guest import Guest

MODULE: Final = "rust_zpool"
DEFAULT: Final = "zsmalloc"
ZPOOL: Final = f"{PARAMETERS}/zpool"

PATCH: Final = "zpool v4, 2025-08-23"
REVIEW: Final = "review of zpool v4, 2025-08-26"
REPLY: Final = "reply to the review of zpool v4, 2025-08-27"

MIXED: Final = (100, 3000)
"""Random bytes a page, least and most: compressed objects of many sizes, some of which save memory."""
WAIT_SECONDS: Final = 5.0


def op(guest: Guest, words: str) -> dict[str, Any]:
    """Have the module do something that must go well."""
    return guest.must(MODULE, words)


def refused(guest: Guest, words: str) -> str | None:
    """The name of the error that the module refuses an operation with, or None when it takes it."""
    answer = guest.op(MODULE, words)
    return None if answer["ok"] else str(answer["errno"])


def zswap_pools(guest: Guest) -> list[dict[str, Any]]:
    """What the module counted in each pool that zswap made, the oldest first."""
    pools: dict[str, dict[str, Any]] = op(guest, "counters")["pools"]
    return [pool for name, pool in pools.items() if name.startswith("zswap")]


def zswap_pool(guest: Guest) -> dict[str, Any]:
    """What the module counted in the one pool that zswap made."""
    pools = zswap_pools(guest)
    guest.prove(len(pools) == 1, f"zswap made one pool of the module's, and not {len(pools)}")
    return pools[0]


def under_zswap(guest: Guest, *params: str) -> Zswap:
    """Load the module, have zswap store in it and in nothing else, and switch swap on."""
    guest.insmod(MODULE, *params)
    zswap = Zswap(guest)
    zswap.use(MODULE)
    zswap.enable()
    guest.prove(zswap.backend() == MODULE, "zswap uses the module now that it is on")
    guest.prove(not zswap_pool(guest)["gone"], "zswap made a pool")
    guest.swap_on()
    return zswap


def filled(guest: Guest, name: str, pages: int, seed: int, random: tuple[int, int] = MIXED) -> Pages:
    """A process with ``pages`` pages of random content."""
    process = Pages(guest, name)
    process.map(pages)
    process.fill(seed, *random)
    return process


def stored(guest: Guest, zswap: Zswap, pages: int, seed: int = 1) -> Pages:
    """A process whose pages are all in the module's pool, and shown to be there."""
    before, pool_before = zswap.counters(), zswap_pool(guest)
    process = filled(guest, f"w{seed}", pages, seed)
    process.push_out()
    now, pool = zswap.counters().since(before), zswap_pool(guest)
    guest.prove(now.pool_limit_hit == now.written_back_pages == 0, f"no page had to go to the disk: {now}")
    assert now.zswpout == now.stored_pages == pages, f"{pages} pages went out, and zswap counts {now}"
    live = pool["live"] - pool_before["live"]
    assert live == pages, f"{pages} pages are stored in {live} objects of the module's"
    return process


def wait_for(guest: Guest, condition: Callable[[], bool]) -> bool:
    """Whether ``condition`` comes true within :data:`WAIT_SECONDS`: pools are destroyed by a worker."""
    end = time.monotonic() + WAIT_SECONDS
    while not (true := condition()) and time.monotonic() < end:
        guest.run("sleep 0.05")
    return true


def destroyed(guest: Guest) -> bool:
    """Whether a pool of the module has been destroyed."""
    return bool(op(guest, "counters")["destroys"])
