# SPDX-License-Identifier: GPL-2.0-only
"""The files of one kernel, and what the frames of a report or the lines of a console are in them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Protocol

from harness.errors import UserError
from harness.judge.places import DecodedFrame, Place
from harness.judge.symbols.image import Found, Image
from harness.judge.symbols.text import Reader, Spot

_WARNS_BY_CALL: Final = frozenset({"EM_ARM", "EM_MIPS", "EM_SPARC", "EM_68K"})
"""Machines whose WARN() is an ordinary call (include/asm-generic/bug.h without __WARN_FLAGS)."""


class FrameLike(Protocol):
    """A frame as the judge has it: ``offset`` is ``0x1d/0x40`` or empty, ``module`` may be empty."""

    @property
    def function(self) -> str: ...
    @property
    def offset(self) -> str: ...
    @property
    def module(self) -> str: ...


@dataclass(frozen=True, slots=True)
class Annotated:
    """A place that a console named, and what it is. ``note`` says why something is not known or doubtful."""

    spot: Spot
    places: tuple[Place, ...] = ()
    note: str = ""


@dataclass(frozen=True, slots=True)
class Annotation:
    """A line of a console with the places that it names."""

    line: str
    found: tuple[Annotated, ...] = ()


@dataclass
class Symbols:
    """vmlinux and the modules of one kernel. Files are opened when a frame is in them.

    ``modules`` are .ko files with their debug information, by name with ``_`` for ``-``; ``loaded``
    says where the guest has them: by module and section, an address (``/sys/module/NAME/sections``).
    """

    vmlinux: Path
    modules: Mapping[str, Path] = field(default_factory=dict)
    loaded: Mapping[str, Mapping[str, int]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Raises :class:`UserError` when vmlinux cannot be used."""
        self.kernel = Image(self.vmlinux)
        if self.kernel.elf.relocatable:
            raise UserError(f"{self.vmlinux} is an object file", "give vmlinux, and modules with --module")
        self._images: dict[str, Image | str] = {"": self.kernel}

    @property
    def machine(self) -> str:
        """pyelftools' name for the machine."""
        return self.kernel.elf.machine

    @property
    def warns_by_trap(self) -> bool:
        """Whether the address in a warning's header is that of the very instruction."""
        return self.machine not in _WARNS_BY_CALL

    def image(self, module: str) -> Image | str:
        """The file of ``module`` (vmlinux for ``""``), or in words why there is none."""
        name = module.replace("-", "_")
        if name not in self._images:
            self._images[name] = self._open(name)
        return self._images[name]

    def _open(self, name: str) -> Image | str:
        path = self.modules.get(name)
        if path is None:
            return f"there is no {name}.ko; name it with --module"
        try:
            image = Image(path, self.kernel.base)
        except UserError as error:
            return str(error)
        if image.elf.machine != self.machine:
            return f"{path} is for {image.elf.machine}, the kernel is for {self.machine}"
        return image

    def resolve(self, spot: Spot, kernel_offset: int | None = None) -> Annotated:
        """What ``spot`` is. ``kernel_offset`` is by how many bytes KASLR moved the kernel."""
        image = self.image(spot.module)
        if isinstance(image, str):
            return Annotated(spot, note=image)
        if not spot.function:
            found = self._at(spot, kernel_offset or 0)
        elif spot.build_id and not same_build(spot.build_id, image.elf.build_id):
            return Annotated(spot, note=f"{image.path} is another build: its id is {image.elf.build_id}")
        else:
            found = image.find(spot.function, spot.offset, spot.size, exact=spot.exact)
        return Annotated(spot, found.places, found.note)

    def _at(self, spot: Spot, kernel_offset: int) -> Found:
        """A bare address: in a module where one is loaded there, else in vmlinux."""
        assert spot.address is not None
        address = spot.address - (not spot.exact)
        for name, sections in self.loaded.items():
            image = self.image(name)
            if isinstance(image, str):
                continue
            for section in image.elf.code.values():
                start = sections.get(section.name)
                if start is not None and start <= address < start + section.end - section.base:
                    return image.at(address - start + section.base)
        return self.kernel.at(address - kernel_offset)


def same_build(printed: str, known: str) -> bool:
    """Whether a build id may be that of a file; consoles may print only the beginning."""
    return not known or known.startswith(printed) or printed.startswith(known)


def decode_lines(lines: Iterable[str], symbols: Symbols) -> Iterator[Annotation]:
    """Each line with what it names; a line that names nothing comes with nothing."""
    reader = Reader(warns_by_trap=symbols.warns_by_trap)
    for line in lines:
        spots = reader.read(line)
        yield Annotation(line, tuple(symbols.resolve(spot, reader.kernel_offset) for spot in spots))


def decode(
    frames: Iterable[FrameLike], symbols: Symbols, *, faulted: bool = False
) -> tuple[DecodedFrame, ...]:
    """The frames of a report with their places, as many as there are, in the same order.

    ``faulted`` says that the first frame is a program counter; all others are return addresses. A
    frame without an offset (the callee on a line of an ARM trace) gets the line of the function's head.
    """
    return tuple(_decode(frame, symbols, exact=faulted and index == 0) for index, frame in enumerate(frames))


def _decode(frame: FrameLike, symbols: Symbols, *, exact: bool) -> DecodedFrame:
    place = f"{frame.function}+{frame.offset}" if frame.offset else frame.function
    text = f"{place} [{frame.module}]" if frame.module else place
    image = symbols.image(frame.module)
    if isinstance(image, str):
        return DecodedFrame(text)
    if not frame.offset:
        return DecodedFrame(text, image.head(frame.function).places)
    offset, _, size = frame.offset.partition("/")
    found = image.find(frame.function, int(offset, 16), int(size or "0", 16), exact=exact)
    return DecodedFrame(text, found.places)
