# SPDX-License-Identifier: GPL-2.0-only
"""Configuration: fragments in, a checked .config out.

``make olddefconfig`` drops in silence what it cannot satisfy. Here every requested option is compared
with the result, and one that was dropped is an error that names the reason.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from harness.build import kconfig_reason
from harness.errors import UserError
from harness.settings import PROJECT
from harness.targets import Target

FRAGMENTS: Final = PROJECT / "kernel-config" / "fragments"
_ASSIGNMENT: Final = re.compile(r"CONFIG_(\w+)=(.*)")
_UNSET: Final = re.compile(r"# CONFIG_(\w+) is not set")
_VALUE: Final = re.compile(r'[ymn]|-?\d+|0[xX][0-9a-fA-F]+|"(?:[^"\\]|\\.)*"')


@dataclass(frozen=True, slots=True)
class Request:
    """One line of a fragment: ``value`` is as in a .config, ``n`` for an option that must be off."""

    name: str
    value: str
    file: Path
    line: int

    @property
    def text(self) -> str:
        return f"CONFIG_{self.name}={self.value}"

    @property
    def place(self) -> str:
        return f"{self.file}:{self.line}"


def parse_fragment(path: Path) -> list[Request]:
    """The requests of one fragment. Raises :class:`UserError` for a line that is none."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except OSError as error:
        raise UserError(f"there is no fragment {path}: {error.strerror}") from None
    requests = []
    for number, raw in enumerate(lines, start=1):
        line = raw.strip()
        if unset := _UNSET.fullmatch(line):
            requests.append(Request(unset.group(1), "n", path, number))
        elif line and not line.startswith("#"):
            found = _ASSIGNMENT.fullmatch(line)
            if found is None or not _VALUE.fullmatch(found.group(2)):
                raise UserError(
                    f"{path}:{number}: {line!r} is not a line of a .config",
                    'write CONFIG_NAME=y, n, m, 12 or "text"',
                )
            requests.append(Request(found.group(1), found.group(2), path, number))
    return requests


def requests_of(target: Target, folder: Path = FRAGMENTS) -> list[Request]:
    """All requests of a target; where two fragments differ, the later one counts."""
    by_name: dict[str, Request] = {}
    for fragment in target.fragments:
        for request in parse_fragment(folder / f"{fragment}.config"):
            by_name[request.name] = request
    return list(by_name.values())


def as_text(requests: Iterable[Request]) -> str:
    """Lines to append to a .config."""
    return "".join(request.text + "\n" for request in requests)


def parse_config(text: str) -> dict[str, str]:
    """A .config as a mapping from names without ``CONFIG_``; what is off is not in it."""
    found = (_ASSIGNMENT.fullmatch(line) for line in text.splitlines())
    return {match.group(1): match.group(2) for match in found if match is not None and match.group(2) != "n"}


def _same(wanted: str, got: str) -> bool:
    if wanted.lower().startswith("0x") and got.lower().startswith("0x"):
        return int(wanted, 16) == int(got, 16)
    return wanted == got


def dropped(requests: Iterable[Request], config: Mapping[str, str]) -> list[Request]:
    """The requests that the final configuration does not fulfil."""
    return [request for request in requests if not _same(request.value, config.get(request.name, "n"))]


def check_known(requests: Iterable[Request], tree: Path, kernel_arch: str) -> None:
    """Raise :class:`UserError` for requests of options that no Kconfig defines; needs no configuration."""
    wanted = [request for request in requests if request.value != "n"]
    definitions = kconfig_reason.read(tree, kernel_arch, {request.name for request in wanted})
    unknown = [request for request in wanted if not definitions.blocks.get(request.name)]
    if unknown:
        lines = "\n  ".join(f"{request.text} ({request.place})" for request in unknown)
        raise UserError(f"this kernel has no such option:\n  {lines}", "correct the name, or drop the line")


def check(requests: Iterable[Request], config: Mapping[str, str], tree: Path, kernel_arch: str) -> None:
    """Raise :class:`UserError` that explains every request that was dropped, or return."""
    lost = dropped(requests, config)
    if not lost:
        return
    definitions = kconfig_reason.read(tree, kernel_arch, {request.name for request in lost})
    lines = []
    for request in lost:
        reason = kconfig_reason.explain(request.name, request.value, config, definitions)
        lines.append(f"{request.text} ({request.place}): {reason}")
    what = "the kernel's configuration drops what the fragments ask for:\n  " + "\n  ".join(lines)
    raise UserError(what, "ask for what is missing as well, or drop the line")
