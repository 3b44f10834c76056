# SPDX-License-Identifier: GPL-2.0-only
"""The first thing that a compiler, a linker or make complained about, in the user's own terms."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

_CLANG: Final = re.compile(r"(?P<file>[^\s:][^:\n]*):(?P<line>\d+):(?:\d+:)? (?:fatal )?error: (?P<what>.*)")
_RUSTC: Final = re.compile(r"error(?:\[(?P<code>E\d+)\])?: (?P<what>.*)")
_RUSTC_PLACE: Final = re.compile(r"\s*--> (?P<file>[^:\n]+):(?P<line>\d+):\d+")
_OTHERS: Final = (
    re.compile(r"(?:ld\.lld|modpost|bindgen|objtool)[^:]*: error: (?P<what>.*)"),
    re.compile(r"ERROR: (?P<what>modpost: .*)"),
    re.compile(r".*?(?P<what>No rule to make target .*)"),
    re.compile(r"(?:\S*/)?Makefile\S*:\d+: \*\*\* (?P<what>(?!\[).*)"),
    re.compile(r"\*\*\* (?P<what>(?!\[).*)"),
)
_SUMMARY: Final = re.compile(r"aborting due to|could not compile")
_NEXT: Final = re.compile(
    r"make\b|(?:warning|error)\b|\S+:\d+:\d+: (?:warning|error):|\d+ (?:warning|error)s?\b"
)
"""Where what belongs to one complaint ends."""
_CONTEXT_LINES: Final = 12


@dataclass(frozen=True, slots=True)
class Diagnostic:
    """One complaint; ``file`` and ``line`` are empty and 0 for a linker's."""

    what: str
    file: str
    line: int
    context: str
    """The compiler's own lines around it, as it drew them."""

    def __str__(self) -> str:
        return f"{self.file}:{self.line}: {self.what}" if self.file else self.what


def first_error(output: str, mapping: Mapping[str, Path] | None = None) -> Diagnostic | None:
    """The first error in ``output``; paths below a key of ``mapping`` become paths below its value."""
    lines = output.splitlines()
    weaker: Diagnostic | None = None
    for number, line in enumerate(lines):
        if found := _CLANG.match(line):
            return _diagnostic(found["what"], found["file"], int(found["line"]), lines, number, mapping)
        if (found := _RUSTC.match(line)) and not _SUMMARY.search(line):
            what = f"{found['what']} [{found['code']}]" if found["code"] else found["what"]
            place = next(filter(None, map(_RUSTC_PLACE.match, lines[number + 1 : number + 4])), None)
            file, at = (place["file"], int(place["line"])) if place else ("", 0)
            return _diagnostic(what, file, at, lines, number, mapping)
        for pattern in _OTHERS:
            if weaker is None and (found := pattern.match(line)):
                weaker = _diagnostic(found["what"], "", 0, lines, number, mapping)
    return weaker


def _diagnostic(
    what: str, file: str, line: int, lines: list[str], number: int, mapping: Mapping[str, Path] | None
) -> Diagnostic:
    context: list[str] = []
    for text in lines[number : number + _CONTEXT_LINES]:
        if context and (not text.strip() or _NEXT.match(text)):
            break
        context.append(map_paths(text, mapping or {}))
    return Diagnostic(what.strip(), map_paths(file, mapping or {}), line, "\n".join(context))


def map_paths(text: str, mapping: Mapping[str, Path]) -> str:
    """``text`` with the paths of the build root replaced by those of the host, the longest first."""
    for inside in sorted(mapping, key=len, reverse=True):
        pattern = rf"(?<![\w/.-]){re.escape(inside)}(?![\w-])"
        text = re.sub(pattern, str(mapping[inside]).replace("\\", r"\\"), text)
    return text
