# SPDX-License-Identifier: GPL-2.0-only
"""The guest's user space: a static busybox, our own small programs, and the initramfs that holds them.

The programs are compiled against the kernel tree's nolibc (tools/include/nolibc), so no C library of
the target's architecture is needed. The archive is written by the kernel's own usr/gen_init_cpio.c,
which makes device nodes and root's files without being root.
"""

from __future__ import annotations

import os
import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from harness import settings
from harness.build import diagnostics
from harness.build.command import CommandFailed
from harness.build.kernel import OUTPUT, SOURCE, make_arguments
from harness.build.mirror import Archive
from harness.build.root import BuildRoot, RootConfig, host_arch
from harness.build.store import Store, digest
from harness.build.tree import Source
from harness.deadline import Deadline
from harness.errors import UserError
from harness.progress import Progress
from harness.settings import PROJECT
from harness.targets import Arch, Target

GUESTS: Final = PROJECT / "guests"
_RECIPE: Final = "userspace 1"
_SECONDS: Final = 900
_FOLDERS: Final = ("bin", "dev", "etc", "modules", "proc", "root", "run", "sys", "tmp")
_CFLAGS: Final = (
    *("-O2", "-Wall", "-Wextra", "-static", "-nostdlib", "-nostdinc", "-ffreestanding"),
    *("-fno-stack-protector", "-fno-asynchronous-unwind-tables", "-fuse-ld=lld", "-Wl,--build-id=none"),
)
"""-nostdinc keeps the build root's C library out; clang's own headers come back in :func:`_script`."""


@dataclass(frozen=True, slots=True)
class Userspace:
    """An uncompressed initramfs."""

    initramfs: Path
    key: str


def build_userspace(
    target: Target,
    source: Source,
    store: Store,
    root: BuildRoot,
    progress: Progress,
    *,
    guests: Path = GUESTS,
) -> Userspace:
    """The user space of ``target``'s guests. Raises :class:`UserError` for a program that is wrong."""
    key = _key(target.arch, source, root, guests)
    name = f"{target.arch.name}-{key}"
    path = store.ready("userspace", name)
    if path is None:
        headers = _headers(target.arch, source, store, root, progress)
        busybox = _busybox(target.arch, store, root, progress)
        with progress.step(f"user space {target.arch.name}: compiling"):
            path = store.make(
                "userspace",
                name,
                lambda there: _build(target.arch, source, headers, busybox, guests, root, there),
            )
        store.forget("userspace", keep=12)
        store.forget("headers", keep=8)
    store.touch("userspace", name)
    return Userspace(path / "initramfs.cpio", key)


def find(
    target: Target, source: Source, store: Store, root: BuildRoot, *, guests: Path = GUESTS
) -> Userspace | None:
    """The user space if it is in the cache."""
    key = _key(target.arch, source, root, guests)
    path = store.ready("userspace", f"{target.arch.name}-{key}")
    return None if path is None else Userspace(path / "initramfs.cpio", key)


def _key(arch: Arch, source: Source, root: BuildRoot, guests: Path) -> str:
    return digest(_RECIPE, arch.name, *arch.cflags, root.key, source.key, guests)


def _headers(arch: Arch, source: Source, store: Store, root: BuildRoot, progress: Progress) -> Path:
    """The kernel's headers for user space, and nolibc."""

    def build(there: Path) -> None:
        (there / "out").mkdir()
        root.run(
            [*make_arguments(arch, settings.jobs()), "INSTALL_HDR_PATH=/build/headers", "headers_install"],
            cwd=SOURCE,
            writable=[there],
            mounts={str(SOURCE): source.path, str(OUTPUT): there / "out", "/build/headers": there},
            deadline=Deadline.after(_SECONDS, "installing the kernel's headers"),
        )
        copy = f"cp -r {SOURCE}/tools/include/nolibc /build/headers/nolibc && rm -rf /build/headers/out"
        root.run(
            ["sh", "-c", copy],
            writable=[there],
            mounts={str(SOURCE): source.path, "/build/headers": there},
            deadline=Deadline.after(_SECONDS, "copying nolibc"),
        )

    name = f"{arch.name}-{digest(_RECIPE, source.key)}"
    if (path := store.ready("headers", name)) is None:
        with progress.step(f"user space {arch.name}: the kernel's headers"):
            path = store.make("headers", name, build)
    store.touch("headers", name)
    return path


def _busybox(arch: Arch, store: Store, root: BuildRoot, progress: Progress) -> Path:
    """Debian's static busybox of the architecture; nothing of it is executed here."""
    native = root.path / "usr/bin/busybox"
    if arch.debian == host_arch() and native.is_file():
        return native
    suite = RootConfig.load().suite

    def build(there: Path) -> None:
        deadline = Deadline.after(_SECONDS, "downloading busybox")
        with store.scratch("download", f"busybox-{arch.debian}") as scratch:
            archive = Archive(scratch, suite, arch.debian)
            archive.update(deadline)
            deb = archive.download("busybox-static", None, deadline)
            root.run(
                ["dpkg-deb", "-x", str(deb), str(there)],
                readable=[scratch],
                writable=[there],
                deadline=deadline,
            )

    key = f"{arch.name}-{digest(_RECIPE, suite)}"
    if (path := store.ready("busybox", key)) is None:
        with progress.step(f"user space {arch.name}: downloading busybox"):
            path = store.make("busybox", key, build)
    return next(path.glob("**/bin/busybox"))


def _build(
    arch: Arch, source: Source, headers: Path, busybox: Path, guests: Path, root: BuildRoot, there: Path
) -> None:
    """Compile every ``*.c`` of ``guests`` and pack the archive."""
    if not (guests / "init").is_file():
        raise UserError(f"{guests} has no init", "the guest's first process is the file guests/init")
    programs = sorted(guests.glob("*.c"))
    (there / "programs").mkdir()
    (there / "files").write_text(_file_list(programs, guests), encoding="utf-8")
    script = _script(arch, programs)
    try:
        root.run(
            ["sh", "-ec", script],
            writable=[there],
            mounts={
                "/build/guests": guests,
                "/build/headers": headers,
                "/build/here": there,
                "/build/busybox": busybox,
                str(SOURCE): source.path,
            },
            deadline=Deadline.after(_SECONDS, "compiling the guest's programs"),
        )
    except CommandFailed as error:
        found = diagnostics.first_error(error.output, {"/build/guests": guests})
        if found is None:
            raise
        raise UserError(f"the guest's programs do not compile: {found}\n{found.context}") from None


def _script(arch: Arch, programs: list[Path]) -> str:
    """Shell commands for inside the build root; every path in it is ours."""
    flags = [f"--target={arch.triple}", *arch.cflags, *_CFLAGS, "-include", "/build/headers/nolibc/nolibc.h"]
    flags += ["-isystem", "/build/headers/include", "-I", "/build/guests"]
    lines = ["builtin=$(clang -print-resource-dir)/include"]
    for program in programs:
        compiler = [
            "clang",
            *flags,
            "-o",
            f"/build/here/programs/{program.stem}",
            f"/build/guests/{program.name}",
        ]
        lines.append(shlex.join(compiler) + ' -isystem "$builtin"')
    lines.append(f"cc -O1 -o /tmp/gen_init_cpio {SOURCE}/usr/gen_init_cpio.c")
    lines.append("/tmp/gen_init_cpio -t 0 /build/here/files > /build/here/initramfs.cpio")
    lines.append("rm -r /build/here/files")
    return "\n".join(lines)


def _file_list(programs: list[Path], guests: Path) -> str:
    """The archive's content in gen_init_cpio's language, everything owned by root."""
    lines = [f"dir /{folder} 0755 0 0" for folder in _FOLDERS]
    lines += [
        "nod /dev/console 0600 0 0 c 5 1",
        "nod /dev/null 0666 0 0 c 1 3",
        "file /bin/busybox /build/busybox 0755 0 0",
        "slink /bin/sh busybox 0777 0 0",
        "file /init /build/guests/init 0755 0 0",
    ]
    lines += [
        f"file /bin/{program.stem} /build/here/programs/{program.stem} 0755 0 0" for program in programs
    ]
    lines += [
        f"file /bin/{path.stem} /build/guests/{path.name} 0755 0 0" for path in sorted(guests.glob("*.sh"))
    ]
    return "".join(line + os.linesep for line in lines)
