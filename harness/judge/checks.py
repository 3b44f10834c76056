# SPDX-License-Identifier: GPL-2.0-only
"""What must hold between the numbers of a guest's samples, whatever the load.

The files of one sample are read one after the other, so numbers that move cannot be compared exactly.
A comparison looks only at quiet samples: those whose neighbours show the same swap traffic. When there
are none, that is a problem too: a check that compared nothing has shown nothing. Take three samples after
the load to be sure of one.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

from harness.judge.meminfo import Sample, Series

TRAFFIC: Final = {
    "vmstat": ("zswpout", "zswpin", "zswpwb", "pswpout", "pswpin", "nr_swapcached"),
    "meminfo": ("SwapTotal", "SwapFree", "Zswap", "Zswapped"),
    "zswap": ("pool_total_size", "stored_pages"),
}
"""Numbers that stand still while nothing moves into or out of swap, nor is forgotten there."""

MONOTONE_VMSTAT: Final = (
    "zswpout",
    "zswpin",
    "zswpwb",
    "pswpout",
    "pswpin",
    "pgfault",
    "pgmajfault",
    "pgfree",
    "pgsteal_kswapd",
    "pgsteal_direct",
    "pgscan_kswapd",
    "pgscan_direct",
    "oom_kill",
    "swpout_zero",
    "swpin_zero",
    "drop_slab",
    "drop_pagecache",
)
MONOTONE_ZSWAP: Final = (
    "pool_limit_hit",
    "written_back_pages",
    "reject_reclaim_fail",
    "reject_alloc_fail",
    "reject_kmemcache_fail",
    "reject_compress_fail",
    "reject_compress_poor",
    "decompress_fail",
)


@dataclass(frozen=True, slots=True)
class Problem:
    """Something that should hold and does not. ``at`` is in seconds of the guest's monotonic clock."""

    check: str
    says: str
    at: float | None = None
    vacuous: bool = False
    """Nothing could be compared: says nothing about the kernel."""

    def __str__(self) -> str:
        when = "" if self.at is None else f" (at {self.at:.3f} s)"
        return f"{self.says}{when}"


def mem_total_constant(series: Series) -> list[Problem]:
    """MemTotal changes only with memory hotplug and CMA."""
    try:
        track = series.meminfo("MemTotal")
    except KeyError:
        return [_nothing("mem_total_constant", "no sample has MemTotal")]
    return [
        Problem("mem_total_constant", f"MemTotal went from {track.first} to {value} bytes", at)
        for at, value in track.points
        if value != track.first
    ][:1]


def high_and_low_add_up(series: Series) -> list[Problem]:
    """With CONFIG_HIGHMEM all memory is high or low: HighTotal and LowTotal are MemTotal together.

    What is free of them is not compared: the kernel counts the two one after the other (mm/show_mem.c).
    A kernel without high memory shows no such lines, so that nothing was compared.
    """
    name = "high_and_low_add_up"
    shown = [sample for sample in series.samples if {"HighTotal", "LowTotal"} <= sample.meminfo.keys()]
    problems = []
    for sample in shown:
        total, together = sample.meminfo["MemTotal"], sample.meminfo["HighTotal"] + sample.meminfo["LowTotal"]
        if together != total:
            says = f"HighTotal and LowTotal are {together} bytes together and MemTotal is {total}"
            problems.append(Problem(name, says, sample.at))
    return problems[:5] if shown else [_nothing(name, "no sample shows high and low memory")]


def zswap_agrees(series: Series, page_size: int) -> list[Problem]:
    """/proc/meminfo and debugfs count the same: Zswap is pool_total_size, Zswapped is stored_pages.

    ``page_size`` in bytes. Both go through zswap_total_pages() and zswap_stored_pages (mm/zswap.c,
    fs/proc/meminfo.c).
    """
    name = "zswap_agrees"
    problems = []
    compared = 0
    for sample in _quiet(series.samples):
        if {"Zswap", "Zswapped"} <= sample.meminfo.keys() and {
            "pool_total_size",
            "stored_pages",
        } <= sample.zswap.keys():
            compared += 1
            pool, stored = sample.zswap["pool_total_size"], sample.zswap["stored_pages"]
            if sample.meminfo["Zswap"] != pool:
                says = f"Zswap is {sample.meminfo['Zswap']} bytes and pool_total_size {pool} bytes"
                problems.append(Problem(name, says, sample.at))
            if sample.meminfo["Zswapped"] != stored * page_size:
                says = f"Zswapped is {sample.meminfo['Zswapped']} bytes and stored_pages {stored} pages"
                problems.append(Problem(name, says, sample.at))
    return problems[:5] if compared else [_nothing(name)]


def stored_fits_swap(series: Series, page_size: int) -> list[Problem]:
    """Every page in zswap has a slot in a swap device: stored_pages is at most what is used of swap."""
    name = "stored_fits_swap"
    problems = []
    compared = 0
    for sample in _quiet(series.samples):
        if "stored_pages" in sample.zswap and {"SwapTotal", "SwapFree"} <= sample.meminfo.keys():
            compared += 1
            used = (sample.meminfo["SwapTotal"] - sample.meminfo["SwapFree"]) // page_size
            stored = sample.zswap["stored_pages"]
            if stored > used:
                says = f"zswap holds {stored} pages and only {used} pages of swap are in use"
                problems.append(Problem(name, says, sample.at))
    return problems[:5] if compared else [_nothing(name)]


def stored_fits_pool(
    series: Series, page_size: int, *, smallest_bytes: int = 32, slack_pages: int = 256
) -> list[Problem]:
    """The pool is neither too small for what it holds nor much larger than the pages it replaces.

    ``smallest_bytes`` is the least room an object takes, ``slack_pages`` what a back end may hold in
    partly filled pages. A pool that reports whole pages only may be short of one page.
    """
    name = "stored_fits_pool"
    problems = []
    compared = 0
    for sample in _quiet(series.samples):
        if {"pool_total_size", "stored_pages"} <= sample.zswap.keys():
            compared += 1
            pool, stored = sample.zswap["pool_total_size"], sample.zswap["stored_pages"]
            if pool + page_size <= stored * smallest_bytes:
                says = f"{stored} stored pages cannot fit into a pool of {pool} bytes"
                problems.append(Problem(name, says, sample.at))
            if pool > (stored + slack_pages) * page_size:
                says = f"the pool takes {pool} bytes for {stored} stored pages: more than uncompressed"
                problems.append(Problem(name, says, sample.at))
    return problems[:5] if compared else [_nothing(name)]


def counters_never_decrease(
    series: Series,
    vmstat: Sequence[str] = MONOTONE_VMSTAT,
    zswap: Sequence[str] = MONOTONE_ZSWAP,
) -> list[Problem]:
    """Counters of events only grow."""
    problems = []
    compared = False
    for before, after in pairwise(series.samples):
        for names, old, new in ((vmstat, before.vmstat, after.vmstat), (zswap, before.zswap, after.zswap)):
            for counter in names:
                if counter in old and counter in new:
                    compared = True
                    if new[counter] < old[counter]:
                        says = f"{counter} went back from {old[counter]} to {new[counter]}"
                        problems.append(Problem("counters_never_decrease", says, after.at))
    return problems[:5] if compared else [_nothing("counters_never_decrease", "fewer than two samples")]


def sample_gaps(series: Series, at_most: float) -> list[Problem]:
    """The sampler was never starved for longer than ``at_most`` seconds. Says nothing about the kernel."""
    if len(series) < 2:
        return [_nothing("sample_gaps", "fewer than two samples")]
    return [
        Problem("sample_gaps", f"no sample for {after.at - before.at:.2f} s", before.at, vacuous=True)
        for before, after in pairwise(series.samples)
        if after.at - before.at > at_most
    ][:5]


def _quiet(samples: Sequence[Sample]) -> Iterator[Sample]:
    """Samples whose neighbours on both sides show the same traffic."""
    traffic = [_traffic(sample) for sample in samples]
    for index in range(1, len(samples) - 1):
        if traffic[index - 1] == traffic[index] == traffic[index + 1]:
            yield samples[index]


def _traffic(sample: Sample) -> tuple[int | None, ...]:
    files = {"vmstat": sample.vmstat, "meminfo": sample.meminfo, "zswap": sample.zswap}
    return tuple(files[file].get(name) for file, names in TRAFFIC.items() for name in names)


def _nothing(check: str, why: str = "no sample was quiet enough to compare") -> Problem:
    return Problem(check, f"{check}: {why}", vacuous=True)
