# SPDX-License-Identifier: GPL-2.0-only
"""A report of which the end is missing, or that is mixed with something else, says so."""

from __future__ import annotations

import pytest

from harness.judge.dmesg import parse

OOPS = """\
BUG: unable to handle page fault for address: ffffffffa0001000
Oops: 0002 [#1] SMP
CPU: 1 PID: 77 Comm: tool Not tainted 6.12.0 #1
RIP: 0010:demo_open+0x1d/0x40 [demo]
RSP: 0018:ffffc90000003f90 EFLAGS: 00010246
"""
TRACE = """\
Call Trace:
 <TASK>
 chrdev_open+0xbf/0x1b0
 do_dentry_open+0x1bf/0x4a0
 </TASK>
---[ end trace 0000000000000000 ]---
"""
LOCKS = """\
======================================================
WARNING: possible circular locking dependency detected
6.12.0 #1 Not tainted
------------------------------------------------------
tool/77 is trying to acquire lock:
ffff888003b1f6f0 (&demo->a){+.+.}-{4:4}, at: demo_open+0x1d/0x40

but task is already holding lock:
ffff888003b1f6f0 (&demo->b){+.+.}-{4:4}, at: demo_ioctl+0x1d/0x40

-> #1 (&demo->b){+.+.}-{4:4}:
       lock_acquire+0xbd/0x2d0
       demo_close+0x1d/0x40
"""


@pytest.mark.parametrize(
    ("log", "why"),
    [
        (OOPS + TRACE, ""),
        (OOPS, "it ends before its stack"),
        (OOPS + "Call Trace:\n", "it ends before its stack"),
        (OOPS + "Call Trace:\n <TASK>\n </TASK>\n---[ end trace 0000000000000000 ]---\n", ""),
        (OOPS + TRACE.replace(" chrdev", " ? chrdev").replace(" do_d", " ? do_d"), ""),
        (OOPS + TRACE.replace(" do_d", " should_fail_ex+0x1d/0x40\n do_d"), "another stack"),
        (
            OOPS.replace("demo_open+0x1d/0x40 [demo]", "0x86")
            + TRACE.replace(" chrdev", " ? chrdev").replace(" do_d", " ? do_d"),
            "its stack is a guess",
        ),
    ],
)
def test_an_oops(log: str, why: str) -> None:
    (report,) = parse(log)
    assert report.corrupted == bool(why)
    assert report.corrupted_why.startswith(why)


def test_locks_without_the_stack_are_blamed_on_where_the_lock_is_taken() -> None:
    (report,) = parse(LOCKS)
    assert (report.frame, report.stack, report.corrupted) == ("demo_open", (), True)


def test_however_long_the_chains_of_locks_are_the_stack_is_kept() -> None:
    chain = "".join(f"       demo_{number}+0x1d/0x40\n" for number in range(900))
    (report,) = parse(LOCKS + chain + "stack backtrace:\n" + TRACE)
    assert report.stack[0].startswith("chrdev_open")
    assert not report.corrupted
