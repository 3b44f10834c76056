# SPDX-License-Identifier: GPL-2.0-only
"""The guest's samples of /proc/meminfo, /proc/vmstat and zswap's debugfs files, as typed series.

Units: what /proc/meminfo gives in kB is held in bytes; its HugePages_* are counts of huge pages.
/proc/vmstat counts pages (``nr_*``, ``pswp*``, ``zswp*``) or events. Of zswap's files
``pool_total_size`` is in bytes and ``stored*_pages``, ``written_back_pages`` are pages (mm/zswap.c).
"""

from __future__ import annotations

import json
import re
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

from harness.judge.lines import WholeLines

KIB: Final = 1024
MOST_SAMPLES: Final = 100_000
MOST_OBJECTS: Final = 10_000


class Unit(StrEnum):
    """What a number counts."""

    BYTES = "bytes"
    PAGES = "pages"
    COUNT = "count"


@dataclass(frozen=True, slots=True)
class Sample:
    """What the guest's memory looked like at one moment; the files are read one after the other."""

    at: float
    """Seconds on the guest's monotonic clock."""
    meminfo: Mapping[str, int]
    vmstat: Mapping[str, int]
    zswap: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Event:
    """Something that the guest said it did, and when (seconds, guest's monotonic clock)."""

    at: float
    words: str


# One search for all lines: a run has thousands of samples of some two hundred lines.
_MEMINFO: Final = re.compile(r"(?m)^[ \t]*([^:\s][^:\n]*?)[ \t]*:[ \t]*([0-9]+)(?:[ \t]+(kB))?[ \t]*\r?$")
_VMSTAT: Final = re.compile(r"(?m)^[ \t]*(\S+)[ \t]+(-?[0-9]+)[ \t]*\r?$")
_HEADS: Final = re.compile(rb"(?m)^(?=[@#])")


def parse_meminfo(text: str) -> dict[str, int]:
    """/proc/meminfo: bytes by name; lines without ``kB`` are counts. Lines that do not fit are left out."""
    return {name: int(number) * (KIB if unit else 1) for name, number, unit in _MEMINFO.findall(text)}


def parse_vmstat(text: str) -> dict[str, int]:
    """/proc/vmstat, or any file of ``name value`` lines. A value may be negative for a moment."""
    return {name: int(number) for name, number in _VMSTAT.findall(text)}


@dataclass(slots=True)
class Stream:
    """What came over the guest's results port; fed as it comes."""

    samples: list[Sample] = field(default_factory=list)
    events: list[Event] = field(default_factory=list)
    objects: list[dict[str, object]] = field(default_factory=list)
    """The guest programs' ``@json`` results."""
    exited: bool = False
    """The guest said ``@exit``: it came to its orderly end."""
    problems: list[str] = field(default_factory=list)
    """What could not be understood: told, never guessed at."""
    _whole: WholeLines = field(default_factory=WholeLines)
    _at: float | None = None
    _section: str = ""
    _sections: dict[str, list[str]] = field(default_factory=dict)

    def feed(self, chunk: bytes) -> None:
        """Take the next piece, cut anywhere."""
        self._take(self._whole.feed(chunk))

    def finish(self) -> None:
        """The stream is over: a sample that was cut short is left out."""
        self._take(self._whole.finish())
        if self._at is not None:
            self._problem(f"the sample at {self._at:.3f} s was cut short")
            self._at = None

    def series(self) -> Series:
        """The samples so far."""
        return Series(tuple(self.samples))

    def _take(self, whole: bytes) -> None:
        """Whole lines. Those that begin with ``@`` or ``#`` say what the others after them are."""
        for piece in _HEADS.split(whole):
            text = piece.decode("utf-8", "backslashreplace")
            head, _, rest = text.partition("\n")
            if head.startswith("@"):
                self._directive(head.rstrip("\r"))
                self._content(rest)
            elif head.startswith("#") and self._at is not None:
                self._section = head[1:].strip()
                self._sections[self._section] = [rest]
            else:
                self._content(text)

    def _content(self, text: str) -> None:
        if self._at is not None and self._section:
            self._sections[self._section].append(text)
            return
        for line in text.splitlines():
            if line.strip():
                self._problem(f"a line outside of any sample: {line[:60]!r}")

    def _directive(self, text: str) -> None:
        word, _, rest = text.partition(" ")
        match word:
            case "@sample":
                self._begin(rest)
            case "@end":
                self._end()
            case "@event":
                at, _, words = rest.partition(" ")
                if at.isdecimal():
                    self.events.append(Event(int(at) / 1e9, words))
                else:
                    self._problem(f"an event without a time: {text[:60]!r}")
            case "@json":
                self._object(rest)
            case "@exit":
                self.exited = True
            case _:
                self._problem(f"not understood: {text[:60]!r}")

    def _begin(self, rest: str) -> None:
        if self._at is not None:
            self._problem(f"the sample at {self._at:.3f} s has no end")
        self._at = int(rest) / 1e9 if rest.strip().isdecimal() else None
        if self._at is None:
            self._problem(f"a sample without a time: {rest[:60]!r}")
        self._sections = {}
        self._section = ""

    def _end(self) -> None:
        if self._at is None:
            return
        text = {name: "".join(pieces) for name, pieces in self._sections.items()}
        sample = Sample(
            at=self._at,
            meminfo=parse_meminfo(text.get("meminfo", "")),
            vmstat=parse_vmstat(text.get("vmstat", "")),
            zswap=parse_vmstat(text.get("zswap", "")),
        )
        if len(self.samples) < MOST_SAMPLES:
            self.samples.append(sample)
        self._at = None

    def _object(self, rest: str) -> None:
        try:
            value = json.loads(rest)
        except ValueError:
            value = None
        if isinstance(value, dict) and len(self.objects) < MOST_OBJECTS:
            self.objects.append(value)
        elif not isinstance(value, dict):
            self._problem(f"not a JSON object: {rest[:60]!r}")

    def _problem(self, words: str) -> None:
        if len(self.problems) < 100:
            self.problems.append(words)


def read_stream(data: bytes) -> Stream:
    """A whole stream at once."""
    stream = Stream()
    stream.feed(data)
    stream.finish()
    return stream


def parse_stream(data: bytes) -> list[Sample]:
    """Only the samples of a whole stream."""
    return read_stream(data).samples


@dataclass(frozen=True, slots=True)
class Track:
    """One number over time."""

    name: str
    unit: Unit
    points: tuple[tuple[float, int], ...]
    """``(seconds, value)``, in order; samples that lack the name are left out."""

    def __post_init__(self) -> None:
        if not self.points:
            raise KeyError(f"no sample has {self.name}")

    @property
    def first(self) -> int:
        return self.points[0][1]

    @property
    def last(self) -> int:
        return self.points[-1][1]

    @property
    def delta(self) -> int:
        """Last less first."""
        return self.last - self.first

    @property
    def min(self) -> int:
        return min(value for _, value in self.points)

    @property
    def max(self) -> int:
        return max(value for _, value in self.points)

    def at(self, moment: float) -> int:
        """The value of the last sample taken at ``moment`` or before; the first one's before that."""
        index = bisect_right(self.points, (moment, 2**63)) - 1
        return self.points[max(index, 0)][1]


def _vmstat_unit(name: str) -> Unit:
    in_pages = name.startswith(("nr_", "pswp", "zswp", "pgsteal", "pgscan", "swpout_zero", "swpin_zero"))
    return Unit.PAGES if in_pages else Unit.COUNT


def _zswap_unit(name: str) -> Unit:
    if name == "pool_total_size":
        return Unit.BYTES
    return Unit.PAGES if name.endswith("_pages") else Unit.COUNT


@dataclass(frozen=True, slots=True)
class Series:
    """Samples in order. A name that no sample has is a KeyError that says so."""

    samples: Sequence[Sample]

    def __len__(self) -> int:
        return len(self.samples)

    @property
    def seconds(self) -> float:
        """From the first sample to the last."""
        return self.samples[-1].at - self.samples[0].at if self.samples else 0.0

    def meminfo(self, name: str) -> Track:
        """A line of /proc/meminfo, in bytes (HugePages_*: a count)."""
        unit = Unit.COUNT if name.startswith("HugePages_") else Unit.BYTES
        return Track(name, unit, tuple((s.at, s.meminfo[name]) for s in self.samples if name in s.meminfo))

    def vmstat(self, name: str) -> Track:
        """A line of /proc/vmstat, in pages or events."""
        points = tuple((s.at, s.vmstat[name]) for s in self.samples if name in s.vmstat)
        return Track(name, _vmstat_unit(name), points)

    def zswap(self, name: str) -> Track:
        """A file of /sys/kernel/debug/zswap."""
        points = tuple((s.at, s.zswap[name]) for s in self.samples if name in s.zswap)
        return Track(name, _zswap_unit(name), points)

    def between(self, start: float, end: float) -> Series:
        """Only the samples of that time."""
        return Series(tuple(sample for sample in self.samples if start <= sample.at <= end))
