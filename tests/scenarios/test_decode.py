# SPDX-License-Identifier: GPL-2.0-only
"""Decoded stacks of real guests, held against what the kernel's own scripts/decode_stacktrace.sh says."""

from __future__ import annotations

import posixpath
import re
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from harness import targets
from harness.boot.payload import UNPACK
from harness.build.artefacts import Artefacts, find_all
from harness.build.modules import Module
from harness.build.store import Store
from harness.deadline import Deadline
from harness.drive.workbench import Workbench
from harness.judge.symbols import Symbols, decode_lines
from harness.judge.symbols.decode import Annotation
from harness.judge.symbols.image import APPROXIMATE, AT_END, Image
from harness.judge.symbols.text import text_column
from harness.targets import Target

ALL_SAID = "all is said"
LKDTM = "/sys/kernel/debug/provoke-crash/DIRECT"
OPERATIONS = "/sys/kernel/debug/rust_fault/op"
FAULTS = (
    f"echo WARNING > {LKDTM}",
    f"op {OPERATIONS} warn",
    f"(echo EXCEPTION > {LKDTM})",
    f"op {OPERATIONS} rust_panic",
)
"""Of C and of Rust, in the kernel and in a module; the last two kill the process that asks for them."""

MOST_LINES = 16
DIFFERENT = {
    AT_END: "the script takes the function that begins at a return address for the one that called",
}
"""Where we say something else than the script, by our note, and why."""
_RESOLVED = re.compile(r" \((?P<places>\S+:\d+(?: \(discriminator \d+\))?(?: \S+:\d+)*)\)")


@dataclass(frozen=True)
class Crash:
    """What a guest said when it crashed, and the files that explain it."""

    artefacts: Artefacts
    module: Module
    symbols: Symbols
    decoded: Mapping[str, Annotation]
    """Each different line with a frame once, without level and time."""
    tools: Path


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "crash" in metafunc.fixturenames:
        asked = metafunc.config.option.target
        names = [
            target.name for target in targets.named(asked or [targets.ALL]) if asked or is_built(target.name)
        ]
        metafunc.parametrize("crash", names, indirect=True, scope="module")


def is_built(name: str) -> bool:
    """Whether the kernel of a target is there: one takes minutes to build, and is not for this to start."""
    return find_all(targets.target(name), Store()) is not None


@pytest.fixture(scope="module")
def crash(
    request: pytest.FixtureRequest, workbench: Workbench, tmp_path_factory: pytest.TempPathFactory
) -> Crash:
    """A clone of the target, crashed in all ways of :data:`FAULTS`."""
    target = targets.target(request.param)
    folder = tmp_path_factory.mktemp("crash")
    artefacts, module = workbench.artefacts(target), workbench.module(target, "rust_fault")
    console = crash_one(workbench, target, folder)
    symbols = Symbols(artefacts.kernel.vmlinux, {module.name: module.ko})
    seen: dict[str, Annotation] = {}
    for annotation in decode_lines(console.splitlines(), symbols):
        if annotation.found:
            seen.setdefault(annotation.line[text_column(annotation.line) :], annotation)
    return Crash(artefacts, module, symbols, seen, tools(artefacts, module, folder))


def crash_one(workbench: Workbench, target: Target, folder: Path) -> str:
    """What the console of a guest says that has all of :data:`FAULTS`."""
    template, payload = workbench.template(target), workbench.payload(target, ("rust_fault",))
    deadline = Deadline.after(30, "a guest crashes", slowdown=template.slowdown)
    with template.clone(folder, payload, deadline) as machine:
        machine.shell.run(UNPACK, deadline=deadline)
        for command in ("modctl load /modules/rust_fault.ko", *FAULTS):
            machine.shell.run(command, deadline=deadline, check=False)
        machine.shell.run(f"echo '<6>{ALL_SAID}' > /dev/kmsg", deadline=deadline)
        assert machine.await_console(ALL_SAID, deadline)
        return machine.console.read_text(encoding="utf-8", errors="replace")


def tools(artefacts: Artefacts, module: Module, folder: Path) -> Path:
    """A folder with LLVM's tools, but an nm that knows its files: the script runs it for every frame."""
    made = folder / "tools"
    made.mkdir()
    for name in ("llvm-addr2line", "llvm-readelf"):
        (made / name).symlink_to(f"/usr/bin/{name}")
    for file in (artefacts.kernel.vmlinux, module.ko):
        said = artefacts.root.run(
            ["llvm-nm", str(file)], readable=[file.parent], deadline=Deadline.after(30, "llvm-nm")
        )
        (made / f"{file.name}.symbols").write_text(said, encoding="utf-8")
    (made / "llvm-nm").write_text('#!/bin/sh\nexec cat "${0%/*}/${1##*/}.symbols"\n', encoding="utf-8")
    (made / "llvm-nm").chmod(0o755)
    return made


def by_script(crash: Crash, lines: Sequence[str], *words: str) -> list[str]:
    """What decode_stacktrace.sh makes of ``lines``, run with ``words``: as many lines as there were."""
    kernel, module = crash.artefacts.kernel, crash.module
    argv = ["bash", str(kernel.source.path / "scripts/decode_stacktrace.sh"), *words]
    argv += [str(kernel.vmlinux), "auto", str(module.ko.parent)]
    said = subprocess.run(
        crash.artefacts.root.command(
            argv,
            readable=[kernel.source.path, kernel.build_dir, module.ko.parent, crash.tools],
            env={"LLVM": f"{crash.tools}/"},
        ),
        input="".join(f"{line}\n" for line in lines),
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    ).stdout.splitlines()
    assert len(said) == len(lines)
    return said


def places_of(crash: Crash, text: str) -> tuple[str, ...]:
    """The ``file:line`` words in a line of the script's, with paths as we show them; innermost first."""
    found = _RESOLVED.search(text)
    if found is None:
        return ()
    image = crash.symbols.image("rust_fault")
    assert isinstance(image, Image)
    pairs = (word.rpartition(":") for word in found["places"].split() if ":" in word)
    names = (f"{posixpath.normpath(path)}:{line}" for path, _, line in pairs)
    return tuple(image.shown(name) for name in names)


def test_stacks_of_a_crash_are_decoded(crash: Crash) -> None:
    # One test and not five: a session of several processes would crash a guest for each.
    check_every_frame_is_resolved(crash)
    check_warnings_are_found_where_they_are_written(crash)
    check_rust_names_are_readable(crash)
    check_lines_are_those_of_the_kernels_script(crash, exact=False)
    check_lines_are_those_of_the_kernels_script(crash, exact=True)
    check_a_report_takes_a_third_of_a_second(crash)


def check_lines_are_those_of_the_kernels_script(crash: Crash, *, exact: bool) -> None:
    # The script takes every address for a return address, unless -R says that none is: we know which is.
    asked = {
        line: last.found[-1] for line, last in crash.decoded.items() if last.found[-1].spot.exact == exact
    }
    said = by_script(crash, list(asked), *(["-R"] if exact else []))
    resolved = 0
    for (line, ours), theirs in zip(asked.items(), said, strict=True):
        expected = places_of(crash, theirs)
        resolved += bool(expected)
        mine = tuple(f"{place.file}:{place.line}" for place in ours.places)
        assert ours.note in DIFFERENT or same(mine, expected), (
            f"{line}: the script says {expected}, we say {mine} ({ours.note})"
        )
    assert resolved >= (2 if exact else 12), said


def same(mine: tuple[str, ...], script: tuple[str, ...]) -> bool:
    """Whether both name the same lines. The script's ``:0``, of code that belongs to no line, fits any.

    So does any line of the same file of assembly: where an alternative's instructions are put elsewhere
    (.subsection) the table of lines goes there and back, and llvm-addr2line takes it to be in order.
    """
    if not script:
        return True
    return len(mine) == len(script) and all(
        one == other or ((other.endswith(":0") or _is_assembly(one)) and _file(one) == _file(other))
        for one, other in zip(mine, script, strict=True)
    )


def _file(place: str) -> str:
    return place.rpartition(":")[0]


def _is_assembly(place: str) -> bool:
    return _file(place).endswith(".S")


def check_every_frame_is_resolved(crash: Crash) -> None:
    unknown = {
        line: found.note
        for line, annotation in crash.decoded.items()
        for found in annotation.found
        if not found.places or found.note not in ("", APPROXIMATE, AT_END)
    }
    # A question mark is before any word on the stack that could be a return address. With one byte of a
    # real one overwritten it may lie at the very start of the kernel's text, and that is data (x86_verw_sel).
    guesses = [line for line in unknown if line.startswith("? ")]
    assert {line: note for line, note in unknown.items() if line not in guesses} == {}
    known = [theirs for theirs in by_script(crash, guesses) if places_of(crash, theirs)]
    assert known == [], "the script knows lines that we do not"


def check_warnings_are_found_where_they_are_written(crash: Crash) -> None:
    # The kernel itself says in the header which line it is, from a table and not from debug information.
    warnings = [line for line in crash.decoded if line.startswith("WARNING: ")]
    # Without a trap to warn with (ARM), Rust has a helper in C do it.
    planted = ("lkdtm_WARNING", "rust_helper_WARN_ON", "[rust_fault]")
    headers = [line for line in warnings if any(name in line for name in planted)]
    assert len(headers) == 2
    for line in headers:
        file, _, number = line.split(" ")[1].removeprefix("./").rpartition(":")
        place = crash.decoded[line].found[0].places[0]
        # clang gives a trap at the end of an arm64 function the line of the closing brace.
        assert (place.file or "").endswith(file), line
        assert abs((place.line or 0) - int(number)) <= 1, line


def check_rust_names_are_readable(crash: Crash) -> None:
    names = {
        place.function
        for annotation in crash.decoded.values()
        for found in annotation.found
        for place in found.places
    }
    assert "rust_fault_main::structures::rust_panic" in names
    assert "core::panicking::panic_bounds_check" in names
    assert "rust_fault_main::ops::run_line::<Faults>" in names
    assert not [name for name in names if name.startswith("_R")]


def check_a_report_takes_a_third_of_a_second(crash: Crash) -> None:
    # Of the processor's time: others may be at work here. The first report also reads the symbols.
    lines = [annotation.line for annotation in crash.decoded.values()]
    fresh = Symbols(crash.symbols.vmlinux, crash.symbols.modules)
    list(decode_lines(lines[: len(lines) // 2], fresh))
    started = time.process_time()
    list(decode_lines(lines[len(lines) // 2 :], fresh))
    assert time.process_time() - started < 0.3
