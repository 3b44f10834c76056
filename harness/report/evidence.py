# SPDX-License-Identifier: GPL-2.0-only
"""What a scenario left behind, read back for the report. It came from a guest: bounded, never trusted.

A file that is missing or that is not what it should be is as good as none: a report about a run that
went wrong has to be made from whatever is there.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from harness.judge.meminfo import Series, Stream, read_stream
from harness.judge.operations import FILE as OPERATIONS
from harness.judge.operations import Operation, from_document
from harness.judge.verdict import Result

MOST_BYTES: Final = 64 << 20
ABOUT: Final = "about.json"
MOST_FILES: Final = 12
"""Files of the evidence that the report links to."""


@dataclass(frozen=True, slots=True)
class Evidence:
    """The evidence of one scenario on one target."""

    series: Series = field(default_factory=lambda: Series(()))
    stream: Stream = field(default_factory=Stream)
    operations: Sequence[Operation] = ()
    console: Sequence[bytes] = ()
    """Its lines as they arrived, the first being line 1."""
    about: Mapping[str, Any] = field(default_factory=dict)
    """about.json: the kernel's release and version, the modules' build ids."""
    machine: Mapping[str, Any] = field(default_factory=dict)
    """machine.json: the kernel's command line, the seed, QEMU's arguments."""
    files: Sequence[str] = ()
    """Names of the files in the folder."""


def load(run_dir: Path, result: Result) -> Evidence:
    """The evidence of ``result``, a scenario of the run in ``run_dir``; empty when there is none."""
    folder = folder_of(run_dir, result)
    if folder is None:
        return Evidence()
    stream = read_stream(_bytes(folder / "samples.txt"))
    return Evidence(
        series=stream.series(),
        stream=stream,
        operations=from_document(_bytes(folder / OPERATIONS).decode("utf-8", "replace")),
        console=_bytes(folder / "console.log").split(b"\n"),
        about=read_object(folder / ABOUT),
        machine=read_object(folder / "machine.json"),
        files=_names(folder),
    )


def folder_of(run_dir: Path, result: Result) -> Path | None:
    """The folder of ``result``'s evidence, if it is there and inside of the run's."""
    if not result.evidence:
        return None
    try:
        folder = (run_dir / result.evidence).resolve()
        inside = folder.is_dir() and folder.is_relative_to(run_dir.resolve())
    except (OSError, ValueError):
        return None
    return folder if inside else None


def _bytes(path: Path) -> bytes:
    with contextlib.suppress(OSError), path.open("rb") as file:
        return file.read(MOST_BYTES)
    return b""


def read_object(path: Path) -> dict[str, Any]:
    """The JSON object in a file; an empty one when there is something else."""
    try:
        value = json.loads(_bytes(path))
    except (ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}


def _names(folder: Path) -> list[str]:
    with contextlib.suppress(OSError):
        return sorted(path.name for path in folder.iterdir() if path.is_file())[:MOST_FILES]
    return []
