# SPDX-License-Identifier: GPL-2.0-only
"""Shortened reports of other kernels and machines: ``wordings/*.txt``.

A file holds many small logs. ``== what it is`` begins one; a line ``-- kind | title | frame`` below it for
each report that must be found, in order; then the log. A log without ``--`` must be found clean. The
wordings are the kernel's, the functions are made up.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import pytest

from harness.judge.dmesg import parse

FILES = sorted((Path(__file__).parent / "wordings").glob("*.txt"))


@dataclass(frozen=True)
class Sample:
    name: str
    expected: tuple[str, ...]
    log: str


def samples() -> list[Sample]:
    found = []
    for path in FILES:
        for part in re.split(r"(?m)^== ", path.read_text(encoding="utf-8"))[1:]:
            name, *lines = part.splitlines()
            expected = tuple(line[3:] for line in lines if line.startswith("-- "))
            log = "\n".join(line for line in lines if not line.startswith("-- ")) + "\n"
            found.append(Sample(f"{path.stem}: {name}", expected, log))
    return found


SAMPLES = samples()


def brief(log: str, *, mixed: bool = False) -> tuple[str, ...]:
    return tuple(f"{one.kind} | {one.title} | {one.frame}" for one in parse(log, mixed=mixed))


@pytest.mark.parametrize("sample", SAMPLES, ids=lambda sample: sample.name)
def test_the_report_is_found_as_it_should(sample: Sample) -> None:
    assert brief(sample.log) == sample.expected


def stamped(sample: Sample) -> str:
    """The same with time stamps; logs that have some stay as they are."""
    return re.sub(r"(?m)^(?!\[ +\d+\.\d{6}\])(?=.)", "[   77.123456] ", sample.log)


@pytest.mark.parametrize("sample", SAMPLES, ids=lambda sample: sample.name)
def test_with_time_stamps_it_is_the_same(sample: Sample) -> None:
    assert brief(stamped(sample)) == sample.expected
    assert brief(stamped(sample), mixed=True) == sample.expected


WRITERS = {
    "dmesg -x": "kern  :warn  : ",
    "dmesg -T": "[Sat Nov 21 10:00:00 2026] ",
    "dmesg -T, French": "[sam. nov. 21 10:00:00 2026] ",
    "dmesg -d": "[   77.123456 <    0.000012>] ",
    "dmesg -e": "[Nov21 10:00] ",
    "dmesg -e, next lines": "[  +0.000012] ",
    "dmesg --time-format=iso": "2026-11-21T10:00:00,123456+01:00 ",
    "/dev/kmsg": "4,1234,77123456,-;",
    "syslog": "Nov 21 10:00:00 host kernel: ",
    "syslog with the kernel's time": "Nov  1 10:00:00 my-host.example kernel: [   77.123456] ",
    "rsyslog": "2026-11-21T10:00:00.123456+01:00 host kernel: [   77.123456] ",
    "journal, precise": "Nov 21 10:00:00.549417 host kernel: ",
    "journal, full": "Sat 2026-11-21 10:00:00 CET host kernel: ",
    "journal, Russian": "\u043d\u043e\u044f 21 10:00:00 host kernel: ",
    "journal, Chinese": "11\u6708 21 10:00:00 host kernel: ",
    "journal, monotonic": "[   77.123456] host kernel: ",
    "logread": "Sat Nov 21 10:00:00 2026 kern.warn kernel: [   77.123456] ",
    "busybox": "Nov 21 10:00:00 host kern.alert kernel: ",
    "printk with a level": "<4>[   77.123456] ",
    "a pipeline's clock": "2026-11-21T10:00:00.1234567Z [   77.123456] ",
    "a laboratory's clock": "10:00:00 [   77.123456] ",
    "Android, CPU and task": "<4>[   77.123456]  [0:      swapper/0:    1] ",
    "Android, a kernel thread": "[   77.123456]  [3: kworker/0:1H:   77] ",
    "Android, context and task": "[   77.123456] -(0)[77:demo]",
    "Android, CPU": "[   77.123456] c0     77 ",
    "quoted mail": "> [   77.123456] ",
    "pasted": "    [   77.123456] ",
    "wall": " kernel:[   77.123456] ",
}


@pytest.mark.parametrize("writer", WRITERS)
def test_who_wrote_it_down_does_not_matter(writer: str) -> None:
    for sample in SAMPLES:
        if "C0]" in sample.log:
            continue
        log = re.sub(r"(?m)^(?=.)", WRITERS[writer], sample.log)
        assert (sample.name, brief(log)) == (sample.name, sample.expected)


SPEAKERS = (
    "user  :warn  : ",
    "daemon:err   : ",
    "Nov 21 10:00:00 host systemd[1]: ",
    "2026-11-21T10:00:00.123456+01:00 host sshd[77]: ",
    "Sat Nov 21 10:00:00 2026 daemon.warn demo[77]: ",
    "12,1234,77123456,-;",
    "<12>[   77.123456] ",
)


@pytest.mark.parametrize("speaker", SPEAKERS)
def test_what_a_process_says_is_no_report(speaker: str) -> None:
    for sample in SAMPLES:
        log = re.sub(r"(?m)^(?=.)", speaker, sample.log)
        assert (sample.name, brief(log, mixed=True)) == (sample.name, ())
