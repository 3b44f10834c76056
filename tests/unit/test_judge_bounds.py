# SPDX-License-Identifier: GPL-2.0-only
"""However long, dense or strange a log is, the time is linear in it and the memory bounded."""

from __future__ import annotations

import pickle
from collections.abc import Callable, Iterator

import pytest

from harness.judge import dmesg, matching, prefilter, reports, speed
from harness.judge.dmesg import MOST_REPORTS, MOST_SAME, ConsoleParser, parse
from harness.judge.headers import HEADERS

SIZE = 300_000
PIECE = 10_000
WARN = speed.bad_log(1000)
HEADER = b"[    9.000000][   T41] BUG: unable to handle page fault for address: 0000000000000010\n"


def endless(text: bytes) -> Iterator[bytes]:
    while True:
        yield text


def many_contexts() -> Iterator[bytes]:
    task = 0
    while True:
        task += 1
        yield b"[    9.000000][%6s] BUG: unable to handle page fault for address: 10\n" % (b"T%d" % task)
        yield b"[    9.000000][%6s] ------------[ cut here ]------------\n" % (b"C%d" % task)


def many_kinds() -> Iterator[bytes]:
    number = 0
    while True:
        number += 1
        yield b"[    9.000000][    T1] BUG: trouble of the kind %s\n" % bytes(
            97 + int(digit) for digit in str(number)
        )


LOGS: dict[str, Callable[[], Iterator[bytes]]] = {
    "a line without end": lambda: endless(b"x" * 4000),
    "a frame without end": lambda: endless(b" f+0x1/0x2 [" + b"x" * 4000),
    "a report without end": lambda: (
        HEADER if not number else b"[    9.000000][   T41]  f+0x1/0x2\n" * 99 for number in range(10**9)
    ),
    "lines of a report as long as can be": lambda: (
        HEADER if not number else b"[    9.000000][   T41] Code: " + b"x" * 4060 + b"\n"
        for number in range(10**9)
    ),
    "report after report": lambda: endless(WARN),
    "reports in context after context": many_contexts,
    "bugs that are all different": many_kinds,
    "nothing but openers": lambda: endless(b"[    9.000000][   T41] ------------[ cut here ]------------\n"),
    "nothing but marks": lambda: endless(b"[    9.000000][   T41] harness: begin Z06\n"),
    "notes of printk": lambda: endless(b"** replaying previous printk message **\n"),
    "no time stamps": lambda: endless(b"BUG: Bad page state in process sh  pfn:3b0a0\nuntil 12:34\n"),
    "a sea of stamps that are none": lambda: endless(b"12:34 kernel, 12:34\n"),
}


def fed(log: Iterator[bytes], size: int) -> ConsoleParser:
    """A parser that was given ``size`` bytes, piece by piece; what it handed out is not kept."""
    parser, given, waiting = ConsoleParser(), 0, b""
    for piece in log:
        waiting += piece
        if len(waiting) > PIECE:
            parser.feed(waiting)
            given, waiting = given + len(waiting), b""
        if given >= size:
            break
    return parser


@pytest.mark.parametrize("name", LOGS)
def test_memory_is_bounded(name: str) -> None:
    """What a parser holds does not grow with what it was fed, once it has seen the first of everything."""
    before, after = (len(pickle.dumps(fed(LOGS[name](), size).__dict__)) for size in (SIZE, 4 * SIZE))
    assert after - before < SIZE, f"{before} bytes, then {after}"
    assert after < 20 * SIZE


def looks(log: bytes, monkeypatch: pytest.MonkeyPatch) -> int:
    """How many times something is done for a line: a measure of time that a busy machine cannot change."""
    count = 0

    def counted(function: Callable[..., object]) -> Callable[..., object]:
        def wrapper(*arguments: object, **more: object) -> object:
            nonlocal count
            count += 1
            return function(*arguments, **more)

        return wrapper

    with monkeypatch.context() as patch:
        for module, name in (
            (dmesg, "take_apart"),
            (dmesg, "look"),
            (dmesg, "match_header"),
            (dmesg, "judge"),
            (matching, "candidates"),
            (reports, "_title"),
        ):
            patch.setattr(module, name, counted(getattr(module, name)))
        parse(log)
    return count


@pytest.mark.parametrize("make", [speed.clean_log, speed.bad_log], ids=["clean", "bad"])
def test_the_work_is_linear(make: Callable[[int], bytes], monkeypatch: pytest.MonkeyPatch) -> None:
    small, large = looks(make(50_000), monkeypatch), looks(make(400_000), monkeypatch)
    assert small > 0
    assert large <= 8.5 * small


def test_a_clean_log_is_hardly_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    log = speed.clean_log(500_000)
    assert parse(log) == []
    assert looks(log, monkeypatch) < log.count(b"\n") / 20


def test_a_log_full_of_reports_is_what_it_says() -> None:
    log = speed.bad_log(200_000)
    found = parse(log)
    assert len(found) == log.count(b"cut here")
    assert not any(report.corrupted for report in found)
    assert len({report.fingerprint for report in found}) == 16


def test_of_very_many_reports_the_rest_is_counted() -> None:
    one = b"[    9.000000][    T1] zswap: Decompression error from zswap\n"
    parser = ConsoleParser()
    found = [*parser.feed(one * (MOST_REPORTS + 7)), *parser.finish()]
    assert (len(found), parser.beyond) == (MOST_REPORTS, 7)


def test_of_a_flood_of_one_report_only_the_first_keep_their_lines() -> None:
    found = parse(speed.bad_log(1000) * (MOST_SAME + 50))
    by_bug: dict[str, list[int]] = {}
    for report in found:
        by_bug.setdefault(report.fingerprint, []).append(len(report.raw))
    for lengths in by_bug.values():
        assert min(lengths[:MOST_SAME]) > 1
        assert set(lengths[MOST_SAME:]) == {1}


@pytest.mark.parametrize(
    "header", HEADERS, ids=lambda header: f"{header.kind}: {header.pattern.pattern[:40]}"
)
def test_no_header_can_be_skipped(header: object) -> None:
    """Each word that a header needs is found by the search that skips lines."""
    from harness.judge.kinds import Header

    assert isinstance(header, Header)
    for needle in header.needles:
        assert any(prefilter.hot_lines(f"quiet\nx{tail}\n") for tail in _completions(needle)), needle


def _completions(needle: str) -> Iterator[str]:
    """A word of a table as it stands in the lines it is for."""
    more = {
        "ernel BUG ": "kernel BUG at",
        "nable to handle": "Unable to handle",
        "NULL pointer dereference": "BUG: kernel NULL pointer dereference",
        "nable to handle kernel paging": "Unable to handle kernel paging",
        "stack guard page": "BUG: stack guard page",
        "overran stack": "Thread overran stack",
        "stack overflow": "Kernel stack overflow",
        "double fault": "PANIC: double fault",
        "soft lockup": "BUG: soft lockup",
        "sleeping function called": "BUG: sleeping function called",
        "scheduling while atomic": "BUG: scheduling while atomic",
        "in preemptible [": "BUG: using f() in preemptible [",
        "huh, entered softirq": "huh, entered softirq",
        " stall": "INFO: rcu_sched detected stall",
        "non-responsive CSD lock": "Detected non-responsive CSD lock",
        "workqueue lockup": "BUG: workqueue lockup",
        "list_add ": "list_add corruption",
        "list_del ": "list_del corruption",
        "ODEBUG: ": "ODEBUG: free",
        "still has objects": "Slab cache still has objects",
        "lab error in": "slab error in",
        "lab corruption": "Slab corruption",
        "f memory": "Out of memory",
        "page allocation ": "page allocation failure",
        "vmalloc error": ": vmalloc error",
        "vmalloc size": ": vmalloc size",
        "vmalloc: allocation failure": ": vmalloc: allocation failure",
        "vmap allocation for": "vmap allocation for",
        "Unable to allocate memory on": "Unable to allocate memory on",
        "new suspected memory leak": "new suspected memory leak",
        "still in use": "BUG: Dentry still in use",
        " swap ": "Bad swap ",
        "pagealloc: ": "pagealloc: single",
        "general protection": "general protection fault: 0000 [#1]",
        "[#": "[#1]",
        "Oops": "Oops",
        "SError": "SError",
        "Synchronous ": "Synchronous ",
        "bus error, epc": "Data bus error, epc",
        "Kernel instruction fetch": "BUG: Kernel instruction fetch",
        "Kernel Fault:": "Kernel Fault:",
        "Unhandled ": "Unhandled ",
        "Objects remaining": "Objects remaining",
        "INFO: task ": "INFO: task ",
        "CFI failure": "CFI failure",
    }
    yield more.get(needle, needle)
