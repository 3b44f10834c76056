# SPDX-License-Identifier: GPL-2.0-only
"""``harness decode``: a console's log with functions, files, lines and inlined callers."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from harness import targets
from harness.build.artefacts import find_all, own_modules
from harness.build.modules import find as find_module
from harness.build.store import Store
from harness.errors import UserError
from harness.judge.symbols import Annotated, Symbols, decode_lines
from harness.judge.symbols.decode import Annotation
from harness.judge.symbols.text import text_column

_KERNEL_FILES: Final = ("vmlinux", "out/vmlinux", "vmlinux.debug")
_KERNEL: Final = re.compile(
    r"(?:Linux version |Not tainted |Tainted: [A-Z] [A-Z ]*)(?P<release>\d+\.\d+[\w.+-]*)"
    r"(?: .*?#(?P<number>\S+))?(?:.* (?P<build_id>[0-9a-f]{40})$)?"
)
"""``Linux version 7.3.4 (..) #1`` at boot; in a report after the taint, and then the build id or not."""
_MACHINES: Final = {
    "RIP: 0010:": "EM_X86_64",
    "EIP: ": "EM_386",
    "PC is at ": "EM_ARM",
    "pstate: ": "EM_AARCH64",
}
"""Words that only one machine's registers are shown with."""
_INDENT: Final = "    "


@dataclass(frozen=True, slots=True)
class Order:
    """What to decode and with what: ``log`` is ``-`` for standard input."""

    log: str
    kernel: Path | None = None
    modules: Sequence[Path] = field(default_factory=tuple)
    target: str = targets.DEFAULT_TARGET
    as_json: bool = False


def decode_log(order: Order) -> None:
    """Print the log with each frame annotated, or its frames as JSON. Warnings go to standard error.

    Raises :class:`UserError` for a file that is not there or cannot be used.
    """
    text = _read(order.log)
    symbols = symbols_of(order)
    lines = text.splitlines()
    for warning in misfits(lines, symbols):
        print(f"harness: warning: {warning}", file=sys.stderr)
    decoded = decode_lines(lines, symbols)
    if order.as_json:
        print(json.dumps({"kernel": str(symbols.vmlinux), "frames": list(_as_data(decoded))}, indent=1))
        return
    for annotation in decoded:
        sys.stdout.write(annotation.line + "\n")
        for line in annotated(annotation):
            sys.stdout.write(line + "\n")


def _read(log: str) -> str:
    if log == "-":
        return sys.stdin.buffer.read().decode("utf-8", "replace")
    try:
        return Path(log).read_bytes().decode("utf-8", "replace")
    except OSError as error:
        raise UserError(f"the log {log} cannot be read: {error.strerror}") from None


def symbols_of(order: Order) -> Symbols:
    """The files to look into: those that were named, else those of the target's built kernel."""
    modules: dict[str, Path] = {}
    if order.kernel is not None:
        vmlinux = vmlinux_in(order.kernel)
        modules |= _modules_below(order.kernel) if order.kernel.is_dir() else {}
    else:
        target, store = targets.target(order.target), Store()
        artefacts = find_all(target, store)
        if artefacts is None:
            raise UserError(
                f"the kernel of {target.name} is not built",
                f"name one with --kernel, or run: harness build -t {target.name}",
            )
        vmlinux = artefacts.kernel.vmlinux
        built = (find_module(path, artefacts.kernel, store) for path in own_modules())
        modules |= {module.name.replace("-", "_"): module.ko for module in built if module is not None}
    for path in order.modules:
        modules |= _modules_at(path)
    return Symbols(vmlinux, modules)


def vmlinux_in(path: Path) -> Path:
    """The vmlinux that ``path`` is or holds. Raises :class:`UserError` when there is none."""
    if path.is_dir():
        for name in _KERNEL_FILES:
            if (path / name).is_file():
                return path / name
        raise UserError(f"{path} holds no vmlinux", "give the kernel's build directory, or vmlinux itself")
    if not path.exists():
        raise UserError(f"there is no file {path}", "give a vmlinux or a kernel's build directory")
    return path


def _modules_at(path: Path) -> dict[str, Path]:
    if path.is_dir():
        found = _modules_below(path)
        if not found:
            raise UserError(
                f"there is no .ko file below {path}", "give the directory where the module was built"
            )
        return found
    if not path.is_file():
        raise UserError(f"there is no module {path}", "give a .ko file or a directory that holds it")
    return {_module_name(path): path}


def _modules_below(folder: Path) -> dict[str, Path]:
    """The modules below a directory; of two with the same name the larger, which has debug information."""
    found: dict[str, Path] = {}
    for pattern in ("*.ko", "*.ko.debug"):
        for path in folder.rglob(pattern):
            name = _module_name(path)
            if name not in found or path.stat().st_size > found[name].stat().st_size:
                found[name] = path
    return found


def _module_name(path: Path) -> str:
    return path.name.partition(".ko")[0].replace("-", "_")


def misfits(lines: Iterable[str], symbols: Symbols) -> Iterator[str]:
    """What says that a log is of another kernel than ``symbols``, in words; each once."""
    elf, said = symbols.kernel.elf, set()
    known = _KERNEL.match(elf.banner)
    for line in lines:
        for words, machine in _MACHINES.items():
            if words in line and machine != elf.machine:
                said.add(f"the log is of {machine}, {symbols.vmlinux} is for {elf.machine}")
        for match in _KERNEL.finditer(line):
            for what, theirs, ours in (
                ("a kernel with build id", match["build_id"], elf.build_id),
                ("Linux", match["release"], known and known["release"]),
                ("build number", match["number"], known and known["number"]),
            ):
                if theirs and ours and theirs != ours:
                    said.add(f"the log is of {what} {theirs}, {symbols.vmlinux} has {ours}")
                    break
    yield from sorted(said)


# Output


def annotated(annotation: Annotation) -> Iterator[str]:
    """The lines to put below a line of the console, one for each place and each call inlined there."""
    margin = " " * text_column(annotation.line) + _INDENT
    for found in annotation.found:
        if not found.places:
            yield f"{margin}?? {found.spot.text}: {found.note}"
            continue
        first, *callers = found.places
        yield f"{margin}{first}"
        yield from (f"{margin}{_INDENT}inlined into {caller}" for caller in callers)
        if found.note:
            yield f"{margin}{_INDENT}?? {found.note}"


def _as_data(annotations: Iterable[Annotation]) -> Iterator[dict[str, Any]]:
    for number, annotation in enumerate(annotations, 1):
        for found in annotation.found:
            yield {"line": number, **_frame(found)}


def _frame(found: Annotated) -> dict[str, Any]:
    spot = found.spot
    return {
        "text": spot.text,
        "function": spot.function,
        "offset": spot.offset,
        "size": spot.size,
        "module": spot.module,
        "exact": spot.exact,
        "places": [
            {"function": place.function, "file": place.file, "line": place.line} for place in found.places
        ],
        "note": found.note,
    }
