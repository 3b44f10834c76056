# SPDX-License-Identifier: GPL-2.0-only
"""Consoles of our own guests, kept with what the judge must make of them.

A file is headers, an empty line and the console as it was. ``FAULT``, ``TARGET`` and ``RELEASE`` say where
it is from; then each report is a ``REPORT`` (its kind) with ``TITLE``, ``FRAME`` and ``FLAGS``. A file
without a ``REPORT`` is of a machine that did nothing wrong.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final, Self

from harness.judge.dmesg import Report, parse
from harness.judge.marks import Edge, mark_text
from harness.settings import PROJECT

CORPUS: Final = PROJECT / "tests" / "golden"
BOOT: Final = "boot"
"""In place of a fault: a target's ordinary boot."""
MOST_LINES: Final = 600
"""Of a console, from its end: what comes before a panic at boot is an ordinary boot."""
_SEPARATOR: Final = b"\n\n"
_FLAGS: Final = ("corrupted", "panicked", "is_fact")


@dataclass(frozen=True, slots=True)
class Expected:
    """What the judge said of a report, and has to say again."""

    kind: str
    title: str
    frame: str = ""
    flags: str = ""

    @classmethod
    def of(cls, report: Report) -> Self:
        flags = " ".join(name for name in _FLAGS if getattr(report, name))
        return cls(str(report.kind), report.title, report.frame or "", flags)


@dataclass(frozen=True, slots=True)
class Golden:
    """One file of the corpus."""

    fault: str
    target: str
    release: str
    console: bytes
    reports: tuple[Expected, ...] = ()

    @classmethod
    def judged(cls, fault: str, target: str, release: str, console: bytes) -> Self:
        """With what the judge says of it now."""
        return cls(fault, target, release, console, judge(console))

    def again(self) -> Golden:
        """The same console with what the judge says of it now."""
        return replace(self, reports=judge(self.console))

    @property
    def path(self) -> Path:
        """Where it belongs, relative to the corpus."""
        return Path(self.target, f"{self.fault}.log")

    def write(self, folder: Path = CORPUS) -> Path:
        """Write it to its place below ``folder``."""
        path = folder / self.path
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes("\n".join(self._head()).encode() + _SEPARATOR + self.console)
        return path

    def _head(self) -> list[str]:
        lines = [f"FAULT: {self.fault}", f"TARGET: {self.target}", f"RELEASE: {self.release}"]
        for report in self.reports:
            lines.append(f"REPORT: {report.kind}")
            fields = {"TITLE": report.title, "FRAME": report.frame, "FLAGS": report.flags}
            lines += [f"{name}: {value}" for name, value in fields.items() if value]
        return lines


def judge(console: bytes) -> tuple[Expected, ...]:
    """What the judge finds."""
    return tuple(Expected.of(report) for report in parse(console))


def read(path: Path) -> Golden:
    """One file. Raises ValueError when it is none of the corpus."""
    head, separator, console = path.read_bytes().partition(_SEPARATOR)
    if not separator:
        raise ValueError(f"{path} has no empty line between its headers and the console")
    facts: dict[str, str] = {}
    reports: list[dict[str, str]] = []
    for line in head.decode().splitlines():
        name, _, value = line.partition(": ")
        if name == "REPORT":
            reports.append({"kind": value})
        elif reports:
            reports[-1][name.lower()] = value
        else:
            facts[name.lower()] = value
    try:
        return Golden(
            facts["fault"],
            facts["target"],
            facts["release"],
            console,
            tuple(Expected(**{"title": "", **report}) for report in reports),
        )
    except (KeyError, TypeError) as error:
        raise ValueError(f"{path} has headers that are wrong: {error}") from None


def excerpt(console: bytes, scenario: str) -> bytes:
    """What a console shows between the marks of ``scenario``, or its end when it has no marks."""
    lines = console.splitlines(keepends=True)
    begin = _line_of(lines, mark_text(Edge.BEGIN, scenario))
    end = _line_of(lines, mark_text(Edge.END, scenario))
    kept = lines[0 if begin is None else begin + 1 : end]
    return b"".join(kept[-MOST_LINES:])


def _line_of(lines: Sequence[bytes], mark: str) -> int | None:
    text = mark.partition(">")[2].encode()
    return next((number for number, line in enumerate(lines) if text in line), None)
