# SPDX-License-Identifier: GPL-2.0-only
"""A log that was bent on its way says the same: cuts, line ends, colours, prefixes, prompts, noise."""

from __future__ import annotations

import re
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from harness.judge.dmesg import ConsoleParser, Report, parse
from harness.judge.kinds import Kind
from harness.judge.lines import LONGEST_LINE, Line, WholeLines, take_apart

LOGS = {
    path.stem: path.read_bytes().partition(b"\n\n")[2]
    for path in sorted((Path(__file__).parent / "logs").glob("*.log"))
}
WITH_REPORTS = [name for name, log in LOGS.items() if parse(log)]
logs = st.sampled_from(sorted(LOGS))
fast = settings(deadline=None, max_examples=40, suppress_health_check=[HealthCheck.too_slow])


def stream(chunks: list[bytes]) -> list[Report]:
    parser = ConsoleParser()
    reports = [report for chunk in chunks for report in parser.feed(chunk)]
    reports += parser.finish()
    return sorted(reports, key=lambda report: report.line)


def essence(reports: list[Report]) -> list[tuple[object, ...]]:
    return [(one.kind, one.title, one.frame, one.stack, one.cpu, one.task, one.corrupted) for one in reports]


@fast
@given(name=logs, cuts=st.lists(st.floats(0, 1), max_size=30))
def test_the_cuts_do_not_matter(name: str, cuts: list[float]) -> None:
    log = LOGS[name]
    places = sorted({int(cut * len(log)) for cut in cuts})
    edges = [0, *places, len(log)]
    chunks = [log[start:end] for start, end in pairwise(edges)]
    assert stream(chunks) == parse(log)


def every_line(text: str) -> list[int]:
    """What the parser would look at if no line could be skipped."""
    return [0, *(match.end() for match in re.finditer("\n", text))][:-1]


@settings(deadline=None, max_examples=15, suppress_health_check=[HealthCheck.too_slow])
@given(
    pieces=st.lists(st.tuples(logs, st.integers(0, 400)), min_size=1, max_size=6),
    size=st.sampled_from([100, 5_000, 100_000]),
)
def test_skipping_quiet_blocks_changes_nothing(pieces: list[tuple[str, int]], size: int) -> None:
    quiet = b"[    3.000000][   T55] nothing to see here, move on\r\n"
    log = b"".join(LOGS[name] + quiet * number for name, number in pieces)
    chunks = [log[start : start + size] for start in range(0, len(log), size)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("harness.judge.dmesg.hot_lines", every_line)
        plain = parse(log)
    assert stream(chunks) == parse(log) == plain


def test_quiet_blocks_are_skipped_and_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    looked_at: list[int] = []

    def counting(number: int, shown: str, hot: bool = True) -> Line:
        looked_at.append(number)
        return take_apart(number, shown, hot)

    monkeypatch.setattr("harness.judge.dmesg.take_apart", counting)
    quiet = b"[    3.000000][   T55] nothing to see here, move on\n" * 5000
    warning = LOGS["x86_64-7.3-warning"]
    [alone] = parse(warning)
    assert [report.line for report in parse(quiet + warning)] == [5000 + alone.line]
    assert len(looked_at) < 1000


def test_a_report_whose_context_falls_silent_is_handed_out() -> None:
    parser = ConsoleParser()
    begun = b"[    1.000000][   T77] BUG: kernel NULL pointer dereference, address: 0\n"
    others = b"[    3.000000][   T55] nothing to see here, move on\n" * 5000
    assert [report.line for report in parser.feed(begun + others)] == [1]


@pytest.mark.parametrize("name", ["x86_64-7.3-rust-panic", "x86_64-7.3-two-cpus-interleaved"])
def test_byte_by_byte(name: str) -> None:
    log = LOGS[name]
    assert stream([log[i : i + 1] for i in range(len(log))]) == parse(log)


@pytest.mark.parametrize("name", sorted(LOGS))
def test_line_ends(name: str) -> None:
    unix = LOGS[name].replace(b"\r\n", b"\n")
    assert parse(unix.replace(b"\n", b"\r\n")) == parse(unix)
    assert parse(unix.replace(b"\n", b"\r\r\n")) == parse(unix)


@pytest.mark.parametrize("name", sorted(LOGS))
def test_colours(name: str) -> None:
    log = LOGS[name].replace(b"\r", b"")
    coloured = re.sub(rb"(?m)^(.+)$", b"\x1b[1;31m\\1\x1b[0m", log)
    assert essence(parse(coloured)) == essence(parse(log))


@pytest.mark.parametrize("name", [name for name in WITH_REPORTS if "syslog" not in name])
def test_level_prefixes(name: str) -> None:
    log = LOGS[name].replace(b"\r", b"")
    levelled = re.sub(rb"(?m)^(?=.)", b"<4>", log)
    assert essence(parse(levelled)) == essence(parse(log))


@pytest.mark.parametrize("name", WITH_REPORTS)
def test_text_from_user_space_never_counts(name: str) -> None:
    """Facility 1 (user): the same words, written to /dev/kmsg by a process."""
    log = re.sub(rb"(?m)^<\d+>", b"", LOGS[name].replace(b"\r", b""))
    assert parse(re.sub(rb"(?m)^(?=.)", b"<12>", log)) == []


SINGLE_CONTEXT = [
    name
    for name in WITH_REPORTS
    if not any(word in name for word in ("interleaved", "memory-leak", "syslog", "4.19", "kmemleak-file"))
]


@pytest.mark.parametrize("name", SINGLE_CONTEXT)
def test_without_callers_or_time_stamps(name: str) -> None:
    log = LOGS[name].replace(b"\r", b"")
    no_caller = re.sub(rb"(?m)^(\[ *\d+\.\d+\])\[ *[TC]\d+\]", rb"\1", log)
    assert essence(parse(no_caller)) == essence(parse(log))
    bare = re.sub(rb"(?m)^(\[ *\d+\.\d+\])\[ *[TC]\d+\] ", b"", log)
    assert essence(parse(bare)) == essence(parse(log))


STAMPED = [name for name, log in LOGS.items() if log.count(b"\n[") > log.count(b"\n") * 0.8]


@pytest.mark.parametrize("name", STAMPED)
def test_a_prompt_glued_in_front(name: str) -> None:
    log = LOGS[name].replace(b"\r", b"")
    assert essence(parse(re.sub(rb"(?m)^\[", b"~ # [", log))) == essence(parse(log))


@pytest.mark.parametrize("name", STAMPED)
def test_tabs_and_trailing_blanks(name: str) -> None:
    log = LOGS[name].replace(b"\r", b"")
    assert essence(parse(re.sub(rb"(?m)(?<=.)$", b"   \t", log))) == essence(parse(log))


@fast
@given(name=logs, data=st.data())
def test_bytes_that_are_not_text_do_not_hide_a_report(name: str, data: st.DataObject) -> None:
    """Not UTF-8, at the end of any line but a header's: the reports stay where they are."""
    log = LOGS[name].replace(b"\r", b"")
    heads = {report.line for report in parse(log)}
    lines = log.split(b"\n")
    place = data.draw(st.integers(0, len(lines) - 1).filter(lambda index: index + 1 not in heads))
    lines[place] += b"\xff\xfe"
    assert [report.line for report in parse(b"\n".join(lines))] == sorted(heads)


@fast
@given(name=st.sampled_from(WITH_REPORTS), data=st.data())
def test_a_note_of_dropped_messages_is_counted_and_hurts_only_what_is_open(
    name: str, data: st.DataObject
) -> None:
    log = LOGS[name].replace(b"\r", b"")
    lines = log.split(b"\n")
    place = data.draw(st.integers(0, len(lines) - 1))
    noisy = b"\n".join([*lines[:place], b"** 7 printk messages dropped **", *lines[place:]])
    parser = ConsoleParser()
    parser.feed(log)
    before = parser.dropped
    parser = ConsoleParser()
    found = sorted([*parser.feed(noisy), *parser.finish()], key=lambda report: report.line)
    assert parser.dropped >= before
    kinds = [report.kind for report in parse(log)]
    assert [report.kind for report in found] == kinds


@pytest.mark.parametrize("name", WITH_REPORTS)
def test_a_replay_of_each_header_counts_once(name: str) -> None:
    log = LOGS[name].replace(b"\r", b"")
    lines = log.split(b"\n")
    for report in reversed(parse(log)):
        header = lines[report.line - 1]
        half = header[: len(header) * 2 // 3]
        lines[report.line - 1 : report.line] = [half, b"** replaying previous printk message **", header]
    assert essence(parse(b"\n".join(lines))) == essence(parse(log))


@fast
@given(name=st.sampled_from(WITH_REPORTS), noise=st.binary(max_size=300), data=st.data())
def test_noise_between_lines_is_no_report(name: str, noise: bytes, data: st.DataObject) -> None:
    """Bytes of any kind, as another context's line: nothing is found in them and nothing is lost."""
    log = LOGS[name].replace(b"\r", b"")
    if "syslog" in name or "4.19" in name or "kmemleak-file" in name:
        return
    lines = log.split(b"\n")
    place = data.draw(st.integers(0, len(lines) - 1))
    junk = b"[    9.999999][  T999] zz" + noise.replace(b"\n", b" ").replace(b"**", b"")
    noisy = b"\n".join([*lines[:place], junk, *lines[place:]])
    assert essence(parse(noisy)) == essence(parse(log))


@fast
@given(noise=st.binary(max_size=2000))
def test_any_bytes_are_read_without_an_error(noise: bytes) -> None:
    parse(noise)


@fast
@given(name=st.sampled_from(WITH_REPORTS), keep=st.floats(0, 1))
def test_a_truncated_tail_keeps_what_was_begun(name: str, keep: float) -> None:
    log = LOGS[name]
    first = parse(log)[0]
    end_of_header = len(b"\n".join(log.split(b"\n")[: first.line])) + 1
    cut = end_of_header + int(keep * (len(log) - end_of_header))
    found = parse(log[:cut])
    assert found
    assert found[0].line == first.line


def test_dropped_messages_are_counted() -> None:
    log = b"x\n** 12 printk messages dropped **\n** 3 printk messages dropped ** [    2.000000] y\n"
    parser = ConsoleParser()
    parser.feed(log)
    parser.finish()
    assert parser.dropped == 15


@pytest.mark.parametrize("glued", [True, False])
def test_a_replayed_line_counts_once(glued: bool) -> None:
    header = b"[    1.000000][   T77] BUG: scheduling while atomic: insmod/77/0x00000002\n"
    half = header[:60]
    note = b"** replaying previous printk message **\n"
    tail = b"[    1.000001][   T77] Call Trace:\n[    1.000001][   T77]  f+0x1/0x2\n"
    log = half + (b"" if glued else b"\n") + note + header + tail
    reports = parse(log)
    assert [report.title for report in reports] == ["BUG: scheduling while atomic in f"]
    assert reports[0].task == "insmod/77"


def test_a_replayed_message_of_two_lines_counts_once() -> None:
    first = b"[    1.000000][   T77] rust_kernel: panicked at a.rs:1:2:\n"
    second = b"[    1.000000][   T77] index out of bounds: the len is 4 but the index is 4\n"
    note = b"** replaying previous printk message **\n"
    tail = b"[    1.000001][   T77] ------------[ cut here ]------------\n"
    log = first + second[:40] + b"\n" + note + first + second + tail
    for size in (1, 7, len(log)):
        parser = ConsoleParser()
        found = [r for at in range(0, len(log), size) for r in parser.feed(log[at : at + size])]
        found += parser.finish()
        assert [(report.kind, report.title) for report in found] == [
            (Kind.RUST_PANIC, "Rust panic at a.rs: index out of bounds: the len is N but the index is N")
        ]


def test_memory_is_bounded_by_a_line_without_end() -> None:
    whole = WholeLines()
    for _ in range(1000):
        assert whole.feed(b"x" * 10_000) == b""
    assert whole.feed(b"\n") == b"x" * LONGEST_LINE + b"\n"


def test_a_flood_of_one_report_is_many_reports_and_bounded_lines() -> None:
    one = LOGS["x86_64-7.3-warning"]
    assert len(parse(one * 50)) == 50
    endless = one.split(b"---[ end trace")[0] + b"[    9.000000][   T41]  f+0x1/0x2\n" * 5000
    assert len(parse(endless)[0].raw) <= 400
    assert len(parse(endless + b"[    9.000000][   T41] ---[ end trace 0 ]---\n")[0].raw) <= 400
