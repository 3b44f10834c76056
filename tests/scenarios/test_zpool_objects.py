# SPDX-License-Identifier: GPL-2.0-only
"""Scenarios of the zpool thread: single objects, in a pool that nobody but the scenario uses."""

from __future__ import annotations

from harness.drive.guest import Guest
from harness.drive.scenario import scenario
from harness.drive.zpool import (
    MODULE,
    REPLY,
    REVIEW,
    op,
    refused,
)


@scenario(
    "Z07",
    claim="Objects of every size to a page have a bucket and keep their content; larger ones are refused",
    thread=REVIEW,
    modules=(MODULE,),
)
def test_z07_sizes(guest: Guest) -> None:
    page_size = guest.target.arch.page_size
    guest.insmod(MODULE)
    op(guest, "pool new")
    buckets = {0: 64, 1: 64, 64: 64, 65: 128, 2049: 4096, page_size - 1: page_size, page_size: page_size}
    for size, bucket in buckets.items():
        answer = op(guest, f"malloc {size}")
        assert answer["bucket"] == bucket, f"an object of {size} bytes has a bucket of {answer['bucket']}"
        slot = answer["slot"]
        op(guest, f"write {slot} {size}")
        assert op(guest, f"read {slot} {size}")["equal"], f"an object of {size} bytes was not kept"
        if size:
            other = op(guest, f"read {slot} {size + 1}")
            guest.prove(not other["equal"], "other content does not pass for the same")
        op(guest, f"free {slot}")
    assert refused(guest, f"malloc {page_size + 1}") == "EINVAL"

    op(guest, "reset")
    swept = op(guest, f"sweep 0 {page_size + 1}")
    assert (swept["stored"], swept["refused"], swept["wrong"]) == (page_size + 1, 1, 0)
    pool = op(guest, "counters")["pools"]["private"]
    expected = {size: int(size) // 2 for size in pool["classes"]} | {"64": 65}
    assert pool["classes"] == expected, "sizes are in other buckets than the smallest that hold them"
    assert pool["mallocs"] == pool["writes"] == pool["reads_ended"] == pool["frees"] == page_size + 1
    assert (pool["live"], pool["bytes"], pool["failures"]["EINVAL"]) == (0, 0, 1)
    total = op(guest, "total")
    assert (total["pages"], total["bytes"], pool["bad_align"]) == (0, 0, 0)


@scenario(
    "Z20",
    claim="malloc takes a shared reference: tasks in parallel lose no object and no count",
    thread=REPLY,
    modules=(MODULE,),
)
def test_z20_parallel(guest: Guest) -> None:
    tasks, rounds = 4, 1000
    guest.insmod(MODULE)
    op(guest, "pool new")
    op(guest, "window 2000")
    file = f"/sys/kernel/debug/{MODULE}/op"
    largest = guest.target.arch.page_size
    commands = (f"op {file} stress {task} {rounds} {largest} > /run/s{task} &" for task in range(tasks))
    guest.run(f"{' '.join(commands)} wait", seconds=30)
    for task in range(tasks):
        answer = guest.json(f"cat /run/s{task}")
        assert (answer["ok"], answer.get("stored"), answer.get("wrong")) == (True, rounds, 0), answer

    pool = op(guest, "counters")["pools"]["private"]
    inside = pool["mallocs_inside_max"]
    guest.prove(inside > 1, f"several tasks were in malloc at the same time: {inside}")
    assert pool["mallocs"] == pool["frees"] == pool["writes"] == tasks * rounds
    assert pool["reads_begun"] == pool["reads_ended"] == tasks * rounds
    assert (pool["live"], pool["bytes"]) == (0, 0)
    assert op(guest, "total")["bytes"] == 0, "the back end lost count of its bytes"
