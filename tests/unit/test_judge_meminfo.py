# SPDX-License-Identifier: GPL-2.0-only
"""The sample stream, the series, and the checks on them."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.judge import checks
from harness.judge.checks import Problem
from harness.judge.meminfo import Sample, Series, Unit, parse_meminfo, parse_stream, parse_vmstat, read_stream

PAGE = 4096
STREAM = b"""\
@event 500000000 swapon done
@sample 1000000000
#meminfo
MemTotal:         200000 kB
MemFree:          150000 kB
Zswap:                 8 kB
Zswapped:             16 kB
SwapTotal:        524284 kB
SwapFree:         524264 kB
HugePages_Total:       2
#vmstat
nr_free_pages 37500
zswpout 4
zswpin 0
#zswap
pool_total_size 8192
stored_pages 4
@end
@json {"ok": true, "pages": 4}
@sample 1100000000
#meminfo
MemTotal:         200000 kB
MemFree:          140000 kB
#vmstat
zswpout 9
@end
@exit
"""


def test_a_stream_is_samples_events_and_objects() -> None:
    stream = read_stream(STREAM)
    assert [sample.at for sample in stream.samples] == [1.0, 1.1]
    assert [(event.at, event.words) for event in stream.events] == [(0.5, "swapon done")]
    assert stream.objects == [{"ok": True, "pages": 4}]
    assert stream.exited
    assert stream.problems == []


def test_units() -> None:
    first = parse_stream(STREAM)[0]
    assert first.meminfo["MemFree"] == 150_000 * 1024
    assert first.meminfo["HugePages_Total"] == 2
    assert first.vmstat["zswpout"] == 4
    series = Series(parse_stream(STREAM))
    assert series.meminfo("MemFree").unit is Unit.BYTES
    assert series.meminfo("HugePages_Total").unit is Unit.COUNT
    assert series.vmstat("zswpout").unit is Unit.PAGES
    assert series.zswap("pool_total_size").unit is Unit.BYTES
    assert series.zswap("stored_pages").unit is Unit.PAGES


@settings(deadline=None, max_examples=50)
@given(cuts=st.lists(st.integers(0, len(STREAM)), max_size=20), crlf=st.booleans())
def test_the_cuts_do_not_matter(cuts: list[int], crlf: bool) -> None:
    whole = read_stream(STREAM)
    data = STREAM.replace(b"\n", b"\r\n") if crlf else STREAM
    pieces = read_stream(b"")
    edges = [0, *sorted(cuts), len(data)]
    for start, end in pairwise(edges):
        pieces.feed(data[start:end])
    pieces.finish()
    assert (pieces.samples, pieces.events, pieces.objects) == (whole.samples, whole.events, whole.objects)


@given(data=st.binary(max_size=500))
def test_any_bytes_are_read_without_an_error(data: bytes) -> None:
    read_stream(b"@sample 1\n#meminfo\n" + data)


def test_a_sample_that_was_cut_short_is_left_out_and_told() -> None:
    stream = read_stream(STREAM[: STREAM.index(b"@end\n@exit")])
    assert len(stream.samples) == 1
    assert stream.problems == ["the sample at 1.100 s was cut short"]
    assert not stream.exited


@pytest.mark.parametrize(
    "bad", [b"@json {nope\n", b"@json [1]\n", b"@what\n", b"@sample x\n", b"text\n", b"@event x y\n"]
)
def test_what_is_not_understood_is_told(bad: bytes) -> None:
    assert len(read_stream(bad).problems) == 1


def test_meminfo_and_vmstat_leave_out_what_does_not_fit() -> None:
    assert parse_meminfo("MemTotal: 1 kB\nOdd: x kB\nnothing\nA: 5\nB: 3 MB") == {"MemTotal": 1024, "A": 5}
    assert parse_vmstat("a 1\nb -2\nc x\nd 1 2\n") == {"a": 1, "b": -2}


def test_a_track_answers_questions() -> None:
    track = Series(parse_stream(STREAM)).vmstat("zswpout")
    assert (track.first, track.last, track.delta, track.min, track.max) == (4, 9, 5, 4, 9)
    assert [track.at(moment) for moment in (0.0, 1.0, 1.05, 1.1, 9.0)] == [4, 4, 4, 9, 9]


def test_a_name_that_no_sample_has() -> None:
    with pytest.raises(KeyError, match="no sample has Nonsense"):
        Series(parse_stream(STREAM)).meminfo("Nonsense")


def sample(at: float, **changes: int) -> Sample:
    meminfo = {"MemTotal": 1 << 28, "SwapTotal": 1 << 29, "SwapFree": (1 << 29) - 100 * PAGE}
    meminfo |= {"Zswap": 50 * PAGE, "Zswapped": 100 * PAGE}
    meminfo |= {"HighTotal": 1 << 26, "LowTotal": 3 << 26}
    vmstat = {"zswpout": 100, "zswpin": 0, "pswpout": 0, "pswpin": 0}
    zswap = {"pool_total_size": 50 * PAGE, "stored_pages": 100, "pool_limit_hit": 0}
    for file in (meminfo, vmstat, zswap):
        file |= {name: value for name, value in changes.items() if name in file}
    return Sample(at, meminfo, vmstat, zswap)


def steady(**changes: int) -> Series:
    return Series([sample(at, **changes) for at in (1.0, 1.1, 1.2)])


ALL: dict[str, Callable[[Series], list[Problem]]] = {
    "total": checks.mem_total_constant,
    "high": checks.high_and_low_add_up,
    "agrees": lambda series: checks.zswap_agrees(series, PAGE),
    "swap": lambda series: checks.stored_fits_swap(series, PAGE),
    "pool": lambda series: checks.stored_fits_pool(series, PAGE),
    "monotone": checks.counters_never_decrease,
    "gaps": lambda series: checks.sample_gaps(series, 0.5),
}


@pytest.mark.parametrize("name", ALL)
def test_a_healthy_guest_has_no_problems(name: str) -> None:
    assert ALL[name](steady()) == []


@pytest.mark.parametrize("name", ALL)
def test_a_check_that_saw_nothing_says_so(name: str) -> None:
    problems = ALL[name](Series([]))
    assert [problem.vacuous for problem in problems] == [True]


@pytest.mark.parametrize(
    ("name", "changes", "says"),
    [
        ("agrees", {"Zswap": 51 * PAGE}, "Zswap is 208896 bytes"),
        ("agrees", {"Zswapped": 99 * PAGE}, "Zswapped is 405504 bytes and stored_pages 100 pages"),
        ("high", {"HighTotal": 1 << 25}, "are 234881024 bytes together and MemTotal is 268435456"),
        ("swap", {"SwapFree": (1 << 29) - 99 * PAGE}, "zswap holds 100 pages and only 99 pages"),
        ("pool", {"pool_total_size": 400 * PAGE}, "more than uncompressed"),
        ("pool", {"stored_pages": 10_000}, "cannot fit into a pool"),
    ],
)
def test_numbers_that_disagree(name: str, changes: dict[str, int], says: str) -> None:
    problems = ALL[name](steady(**changes))
    assert problems
    assert says in str(problems[0])
    assert not problems[0].vacuous


def test_numbers_that_move_are_not_compared() -> None:
    moving = Series([sample(1.0 + i / 10, zswpout=100 + i, Zswap=7 * PAGE) for i in range(5)])
    assert [problem.vacuous for problem in checks.zswap_agrees(moving, PAGE)] == [True]


def test_mem_total_that_changes() -> None:
    series = Series([sample(1.0), sample(1.1, MemTotal=1 << 27)])
    assert "MemTotal went from 268435456 to 134217728" in str(checks.mem_total_constant(series)[0])


@pytest.mark.parametrize("counter", ["zswpout", "pool_limit_hit"])
def test_counters_that_go_back(counter: str) -> None:
    series = Series([sample(1.0, **{counter: 5}), sample(1.1, **{counter: 4})])
    assert [str(one) for one in checks.counters_never_decrease(series)] == [
        f"{counter} went back from 5 to 4 (at 1.100 s)"
    ]


def test_a_starved_sampler_is_said() -> None:
    [problem] = checks.sample_gaps(Series([sample(1.0), sample(3.0)]), 0.5)
    assert (problem.vacuous, str(problem)) == (True, "no sample for 2.00 s (at 1.000 s)")


def test_between() -> None:
    assert [one.at for one in steady().between(1.05, 1.15).samples] == [1.1]
    assert steady().seconds == pytest.approx(0.2)
    assert dataclasses.is_dataclass(Problem)
