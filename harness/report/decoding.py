# SPDX-License-Identifier: GPL-2.0-only
"""Kernel reports with their stacks decoded, while the kernel they came from is still in the cache.

What cannot be decoded stays as the kernel printed it: a report is never lost for want of symbols.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

from harness.errors import HarnessError
from harness.judge.dmesg import Report
from harness.judge.frames import frame_in
from harness.judge.places import DecodedFrame
from harness.judge.verdict import Result
from harness.report.evidence import ABOUT, folder_of, read_object

MOST_REPORTS: Final = 5
"""Reports decoded of one scenario: as many as the page shows."""
_PROGRAM_COUNTER: Final = r"(?:RIP: [0-9a-f]{4}:|EIP: (?:[0-9a-f]{4}:)?|\bpc : |PC is at )"


def decoded(results: Sequence[Result], run_dir: Path) -> list[Result]:
    """``results`` with :attr:`Result.decoded` filled in where it is empty and can be."""
    return [_decoded(result, run_dir) if _is_due(result) else result for result in results]


def _is_due(result: Result) -> bool:
    return any(report.stack for report in result.reports[:MOST_REPORTS]) and not any(result.decoded)


def _decoded(result: Result, run_dir: Path) -> Result:
    folder = folder_of(run_dir, result)
    kernel, modules = _files(read_object(folder / ABOUT)) if folder is not None else (None, ())
    if kernel is None:
        return result
    try:
        stacks = tuple(_stack(report, kernel, modules) for report in result.reports[:MOST_REPORTS])
    except (HarnessError, OSError):
        return result  # the kernel has left the cache since
    return dataclasses.replace(result, decoded=stacks)


def _files(about: Mapping[str, Any]) -> tuple[Path | None, tuple[tuple[str, Path], ...]]:
    kernel, files = about.get("kernel"), about.get("files")
    build = kernel.get("build") if isinstance(kernel, Mapping) else None
    found = files.items() if isinstance(files, Mapping) else ()
    modules = tuple(sorted((str(name), Path(str(path))) for name, path in found))
    return (Path(build) if isinstance(build, str) else None), modules


def _stack(report: Report, kernel: Path, modules: tuple[tuple[str, Path], ...]) -> tuple[DecodedFrame, ...]:
    from harness.judge.symbols import decode

    frames = [frame_in(f" {text}") for text in report.stack]
    known = [frame for frame in frames if frame is not None]
    if len(known) != len(frames) or not known:
        return ()
    faulted = re.compile(_PROGRAM_COUNTER + re.escape(report.stack[0]))
    return decode(known, _symbols(kernel, modules), faulted=any(map(faulted.search, report.raw)))


@lru_cache(maxsize=8)
def _symbols(kernel: Path, modules: tuple[tuple[str, Path], ...]) -> Any:
    # Reading debug information takes a second to import and set up; a run without reports does without.
    from harness.judge.symbols import Symbols

    return Symbols(kernel / "vmlinux", dict(modules))
