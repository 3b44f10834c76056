# SPDX-License-Identifier: GPL-2.0-only
"""Stack frames as data, the function to blame, and titles that survive a rebuild."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import Final, NamedTuple

from rust_demangler import demangle

from harness.judge.body import Found, Part, look
from harness.judge.helpers import is_helper, is_tick, without_suffix

__all__ = [
    "Frame",
    "below_tick",
    "frame_in",
    "function_name",
    "guilty",
    "is_helper",
    "normalise",
    "plain_name",
    "stack_of",
]

LONGEST_TITLE: Final = 120
MOST_FRAMES: Final = 64

# Where user space enters the kernel: above it nothing is anybody's fault, and its names differ by machine.
_WRAPPERS: Final = re.compile(
    r"^(?:__(?:x64|ia32|arm64|riscv|s390x?|se|do|x32|loongarch)_|__)(?=(?:compat_)?sys_)"
)
_WITHIN_PATHS: Final = re.compile(r"(?:\w+::)+(?=[\w{])")
_CRATE_HASH: Final = re.compile(r"Cs[0-9A-Za-z]+_(?=\d)")
_LEGACY_HASH: Final = re.compile(r"::h[0-9a-f]{16}$")

_ADDRESS: Final = re.compile(
    r"\b0x[0-9a-f]+\b|\b(?=[0-9a-f]*\d)[0-9a-f]{8,16}\b|\(ptrval\)|\(____ptrval____\)"
)
_LINE_OF: Final = re.compile(r"(\.(?:c|h|rs|S)):\d+(?::\d+)?")
_OFFSET: Final = re.compile(r"\+0x[0-9a-f]+/0x[0-9a-f]+")
_NUMBER: Final = re.compile(r"(?<![\w-])\d+\b")
_TREE: Final = re.compile(
    r"^.*?(?<![\w-])(?=(?:arch|block|certs|crypto|drivers|fs|include|init|io_uring|ipc|kernel|lib|mm|net|rust"
    r"|samples|security|sound|tools|virt)/)"
)


class Frame(NamedTuple):
    """One frame: ``function``, ``offset`` as ``0x1d/0x40`` (may be empty), ``module`` (may be empty)."""

    function: str
    offset: str = ""
    module: str = ""

    def __str__(self) -> str:
        place = f"{self.function}+{self.offset}" if self.offset else self.function
        return f"{place} [{self.module}]" if self.module else place


_RCU_TICK: Final = ("rcu_sched_clock_irq", "rcu_check_callbacks")
_FRAMES: Final = (Part.FRAME, Part.ARM_FRAME)
_BETWEEN: Final = (Part.WITHIN, Part.TRACE, Part.DUMP)


def stack_of(lines: Iterable[str]) -> tuple[Frame, ...]:
    """The first complete trace of a report's lines; see :func:`first_stack`."""
    return first_stack(look(text) for text in lines)


def first_stack(body: Iterable[Found | None]) -> tuple[Frame, ...]:
    """The first complete trace of a report; see :func:`read_stack`."""
    return read_stack(body)[0]


def read_stack(body: Iterable[Found | None]) -> tuple[tuple[Frame, ...], bool]:
    """The first complete trace of a report: where it happened, then its callers.

    Frames marked ``?`` are guesses of the unwinder and left out, unless a trace has nothing else. A
    report without a ``Call Trace:`` (KFENCE) has its stack right below its header. Functions that a decoder
    found inlined are no frames of their own. Where an interrupt or a trap came in, x86 shows the registers
    in the middle of the trace: what was interrupted belongs to it. A function that was met at its first
    instruction has no frame yet, and an unwinder by frames misses its caller: that is in the link register.

    Also whether that is sure: there is a ``Call Trace:`` with at least one frame that is no guess, and
    nothing that looks like a frame above it.
    """
    place: Frame | None = None
    caller: Frame | None = None
    bare: list[Frame] = []
    stack: list[Frame] = []
    guesses: list[Frame] = []
    in_trace = bare_done = in_registers = False
    for found in body:
        part = found.part if found is not None else None
        if part in _FRAMES:
            assert found is not None
            in_registers = False
            frames = guesses if found.doubtful else stack if in_trace else bare
            if len(frames) < MOST_FRAMES and not bare_done and not found.inlined:
                frames.append(Frame(found.function, found.offset, found.module))
        elif part is Part.TRACE and not in_trace:
            in_trace, bare_done = True, False
            guesses.clear()
        elif part is Part.PLACE and place is None and not stack:
            assert found is not None
            if not found.inlined:
                place = Frame(found.function, found.offset, found.module)
        elif part is Part.OTHER and found is not None and found.function and not in_trace:
            # The beginning of another function is where a call that does not return would return to.
            starts = found.offset.startswith("0x0/")
            if caller is None and place is not None and place.offset.startswith("0x0/") and not starts:
                caller = Frame(found.function, found.offset, found.module)
        elif in_trace and part is Part.PLACE and not in_registers and len(stack) < MOST_FRAMES:
            assert found is not None
            in_registers = True
            stack.append(Frame(found.function, found.offset, found.module))
        elif in_trace and (part is Part.TRACE or part not in _BETWEEN):
            if in_registers and part is Part.OTHER:
                continue
            if (stack or guesses) and (in_registers or part is not Part.TRACE):
                break
        elif bare and not in_trace:
            bare_done = True
    certain = bool(stack) and not bare
    found_stack = stack or (guesses or bare if in_trace else bare or guesses)
    if place is not None:
        same = bool(found_stack) and found_stack[0].function == place.function
        rest = found_stack[same and found_stack[0].offset in ("", place.offset) :]
        if caller is not None and all(frame.function != caller.function for frame in rest):
            rest = [caller, *rest]
        found_stack = [place, *rest]
    return tuple(found_stack), certain


def frame_in(text: str) -> Frame | None:
    """The frame on a line of a trace; a guess of the unwinder is none."""
    found = look(text)
    if found is None or found.part not in _FRAMES or found.doubtful:
        return None
    return Frame(found.function, found.offset, found.module)


def guilty(stack: Sequence[Frame], named: str | None) -> str | None:
    """The function to blame: what the header names, else the first frame that is no helper."""
    candidates = [name for name in (function_name(named), *(frame.function for frame in stack)) if name]
    for name in candidates:
        if not is_helper(name):
            return plain_name(name)
    return plain_name(candidates[0]) if candidates else None


def below_tick(stack: Sequence[Frame]) -> Sequence[Frame]:
    """The stack of whom the tick interrupted; all of it where there is no tick.

    Who looks at a stalled CPU meets its tick now and then, at any function, and the tick is not what stalls.
    A tick in which RCU itself notices the stall shows first what it interrupted.
    """
    ticks = [number for number, frame in enumerate(stack, 1) if is_tick(frame.function)]
    if not ticks or ticks[-1] == len(stack):
        return stack
    above, below = stack[: ticks[-1]], stack[ticks[-1] :]
    return stack if any(without_suffix(frame.function) in _RCU_TICK for frame in above) else below


def function_name(place: str | None) -> str | None:
    """``kfree`` of ``kfree+0x1d/0x40``; None for a bare address or nothing."""
    if not place:
        return None
    name = place.split("+", 1)[0].removesuffix("()").rstrip(",:;")
    return None if not name or re.fullmatch(r"(?:0x)?[0-9a-f]{8,}|0x[0-9a-f]+", name) else name


@lru_cache(maxsize=4096)
def plain_name(function: str) -> str:
    """The name as its author wrote it, without what the compiler adds.

    Rust's names are demangled; within ``<...>`` only the last part of each path is kept. A system call
    has the same name on every machine.
    """
    function = _WRAPPERS.sub("", without_suffix(function).lstrip("."))
    if not function.startswith(("_R", "_ZN")):
        return function
    try:
        name: str = demangle(function)
    except Exception:  # the library fails in many ways on a name that was cut short
        return _CRATE_HASH.sub("C", function)
    return _shorten(_LEGACY_HASH.sub("", name).replace("{closure:#", "{closure#"))


def _shorten(name: str) -> str:
    """``<a::b::C as d::E>::f`` as ``<C as E>::f``; ``a::b::f::<c::D>`` as ``a::b::f::<D>``."""
    parts = []
    depth = 0
    for piece in re.split(r"([<>])", name):
        if piece == "<":
            depth += 1
        elif piece == ">":
            depth -= 1
        elif depth:
            piece = _WITHIN_PATHS.sub("", piece)
        parts.append(piece)
    return "".join(parts)


def source_path(where: str) -> str:
    """The file of ``file:line[:column]``, relative to the kernel tree wherever that was built."""
    path = re.sub(r"(?::\d+)+$", "", where)
    return _TREE.sub("", path) if path.startswith(("/", ".")) else path


def normalise(text: str) -> str:
    """The text without addresses, line numbers and other numbers."""
    text = _OFFSET.sub("", text)
    text = _LINE_OF.sub(r"\1", text)
    text = _ADDRESS.sub("ADDR", text)
    text = _NUMBER.sub("N", text)
    return " ".join(text.split())[:LONGEST_TITLE]
