# SPDX-License-Identifier: GPL-2.0-only
"""Compiling a kernel, and going on where an interrupted compilation stopped.

Inside the build root the source is always at :data:`SOURCE` and the objects at :data:`OUTPUT`. So
nothing that is built holds a path of this machine, a finished build can be renamed into the cache,
and the next kernel (another patch, another option) can start from a copy of an earlier one: make
then compiles what changed.
"""

from __future__ import annotations

import json
import os
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass
from mmap import ACCESS_READ, mmap
from pathlib import Path
from typing import Final

from harness import settings
from harness.build import command, diagnostics, kconfig
from harness.build.command import CommandFailed
from harness.build.earlier import align_times, decides_options, earlier_builds, remove_half_written
from harness.build.kconfig import Request
from harness.build.kconfig_reason import source_arch
from harness.build.root import BuildRoot
from harness.build.store import Store, digest, need_space, write_atomically
from harness.build.tree import Source
from harness.deadline import Deadline
from harness.errors import InfrastructureError, UserError
from harness.progress import Progress, Step
from harness.targets import Arch, Target

SOURCE: Final = Path("/build/linux")
OUTPUT: Final = Path("/build/kernel")
_RECIPE: Final = "kernel 1"
"""Change it when this file builds differently from the same inputs."""
_TIMESTAMP: Final = "Thu Jan  1 00:00:00 UTC 2026"
_COMPILE_SECONDS: Final = 4 * 3600
_CONFIGURE_SECONDS: Final = 600
_TINY: Final = "tiny.all"
_TINY_PARTS: Final = ("tiny-base.config", "tiny.config")
_KERNEL_BYTES: Final = 1_500_000_000
_KEEP: Final = 2
"""Kernels of one target that stay: this one, and one to go back to."""
_IDLE_SECONDS: Final = 600.0
_STEPS: Final = 1700
"""What make announces for a first build of the plain x86_64 kernel; later the real number is known."""
_LINE: Final = re.compile(r"  ([A-Z0-9_]+(?: \[M\])?) +(\S+)")


@dataclass(frozen=True, slots=True)
class Kernel:
    """A finished kernel. ``build_dir`` is its O= directory, complete for building modules against it.

    ``release`` is what ``uname -r`` says in the guest, ``version`` what ``uname -v`` says; the latter
    holds the first letters of ``key``, so a guest can be told from one that runs another kernel.
    """

    target: Target
    build_dir: Path
    source: Source
    image: Path
    vmlinux: Path
    release: str
    version: str
    key: str
    config: Mapping[str, str]
    symvers: Path
    vermagic: str
    """What a module's vermagic must be."""


def make_arguments(arch: Arch, jobs: int) -> list[str]:
    """make's command line for anything in a kernel tree, inside the build root."""
    return ["make", "-C", str(SOURCE), f"O={OUTPUT}", "LLVM=1", f"ARCH={arch.kernel_arch}", f"-j{jobs}"]


def build_environment(key: str) -> dict[str, str]:
    """What makes two builds of the same inputs the same, and shows in the guest which one it is."""
    return {
        "KBUILD_BUILD_TIMESTAMP": _TIMESTAMP,
        "KBUILD_BUILD_USER": "harness",
        "KBUILD_BUILD_HOST": "harness",
        "KBUILD_BUILD_VERSION": key[:12],
    }


def build_kernel(target: Target, source: Source, store: Store, root: BuildRoot, progress: Progress) -> Kernel:
    """The kernel of ``target`` from ``source``, compiled now if it is not in the cache.

    Raises :class:`UserError` for a configuration that cannot be had and for code that does not
    compile, :class:`InfrastructureError` for anything else.
    """
    requests = kconfig.requests_of(target)
    key = _key(target, source, root)
    name = f"{target.name}-{key}"
    path = store.ready("kernel", name)
    if path is None:
        with store.scratch("kernel", name) as scratch:
            path = store.ready("kernel", name)
            if path is None:
                need_space(store.root, _KERNEL_BYTES, f"the kernel {target.name}")
                _Build(target, source, store, root, progress, key, requests, scratch).run()
                path = store.adopt(scratch, "kernel", name)
        store.forget("kernel", keep=_KEEP, prefix=f"{target.name}-", idle_seconds=_IDLE_SECONDS)
        store.sweep("kernel", f"{target.name}-")
    store.touch("kernel", name)
    return _load(target, source, path, key)


def find(target: Target, source: Source, store: Store, root: BuildRoot) -> Kernel | None:
    """The kernel if it is in the cache."""
    key = _key(target, source, root)
    path = store.ready("kernel", f"{target.name}-{key}")
    return None if path is None else _load(target, source, path, key)


def _key(target: Target, source: Source, root: BuildRoot) -> str:
    return digest(_RECIPE, target.name, root.key, source.key, kconfig.as_text(kconfig.requests_of(target)))


def _load(target: Target, source: Source, path: Path, key: str) -> Kernel:
    output = path / "out"
    config = kconfig.parse_config((output / ".config").read_text(encoding="utf-8"))
    version = (output / "include/generated/utsversion.h").read_text(encoding="utf-8")
    return Kernel(
        target=target,
        build_dir=output,
        source=source,
        image=output / target.arch.image,
        vmlinux=output / "vmlinux",
        release=(output / "include/config/kernel.release").read_text(encoding="utf-8").strip(),
        version=version.partition('"')[2].rpartition('"')[0],
        key=key,
        config=config,
        symvers=output / "Module.symvers",
        vermagic=json.loads((path / "kernel.json").read_text(encoding="utf-8"))["vermagic"],
    )


@dataclass(frozen=True, slots=True)
class _Build:
    """One compilation in a scratch directory: ``out`` is O=, ``build.log`` what the compilers said."""

    target: Target
    source: Source
    store: Store
    root: BuildRoot
    progress: Progress
    key: str
    requests: list[Request]
    scratch: Path

    @property
    def output(self) -> Path:
        return self.scratch / "out"

    @property
    def log(self) -> Path:
        return self.scratch / "build.log"

    def run(self) -> None:
        if self.output.exists():
            remove_half_written(self.output)
        else:
            self._seed()
            self.output.mkdir(exist_ok=True)
        if not (self.scratch / "configured").exists():
            with self.progress.step(f"kernel {self.target.name}: configuring"):
                self._configure()
            (self.scratch / "configured").touch()
        self._compile()
        facts = {
            "target": self.target.name,
            "toolchain": self.root.key,
            "tree": os.fspath(self.source.path),
            "requests": self._requests_key,
            "vermagic": find_vermagic(self.output),
        }
        (self.scratch / "kernel.json").write_text(json.dumps(facts) + "\n", encoding="utf-8")

    def _make(self, *goals: str, deadline: Deadline, step: Step | None = None) -> None:
        """Run make. Raises as :meth:`BuildRoot.run` does."""
        seen = _announced(self.log)

        def line(text: str) -> None:
            if step is not None and (found := _LINE.match(text)):
                seen.add(text)
                step.update(done=min(len(seen), step.total or len(seen)), note=found.group(2))

        self.root.run(
            [*make_arguments(self.target.arch, settings.jobs()), *goals],
            cwd=SOURCE,
            writable=[self.output],
            mounts={str(SOURCE): self.source.path, str(OUTPUT): self.output},
            env=build_environment(self.key),
            deadline=deadline,
            log=self.log,
            on_line=line,
        )

    def _configure(self) -> None:
        """tinyconfig + the fragments, checked."""
        deadline = Deadline.after(_CONFIGURE_SECONDS, f"configuring {self.target.name}")
        final = self.output / ".config"
        # Configuring takes a minute, a misspelt name can be told at once.
        kconfig.check_known(self.requests, self.source.path, self.target.arch.kernel_arch)
        try:
            # What tinyconfig does, in one run of Kconfig less: each tries the compiler for 10 s.
            (self.output / _TINY).write_text(self._tiny(), encoding="utf-8")
            self._make(f"KCONFIG_ALLCONFIG={OUTPUT / _TINY}", "allnoconfig", deadline=deadline)
            with final.open("a", encoding="utf-8") as file:
                file.write(kconfig.as_text(self.requests))
            self._make("olddefconfig", deadline=deadline)
        except CommandFailed as error:
            raise self._explain(error) from None
        config = kconfig.parse_config(final.read_text(encoding="utf-8"))
        kconfig.check(self.requests, config, self.source.path, self.target.arch.kernel_arch)

    def _tiny(self) -> str:
        """The fragments of the tree's own tinyconfig."""
        folders = ("kernel", f"arch/{source_arch(self.target.arch.kernel_arch)}")
        paths = [self.source.path / folder / "configs" / name for folder in folders for name in _TINY_PARTS]
        return "".join(path.read_text(encoding="utf-8") for path in paths if path.is_file())

    def _compile(self) -> None:
        record = self.store.root / "steps.json"
        known = _read_counts(record)
        started = time.monotonic()
        deadline = Deadline.after(_COMPILE_SECONDS, f"compiling {self.target.name}")
        total = known.get(self.target.name, _STEPS)
        with self.progress.step(f"kernel {self.target.name}: compiling", total=total) as step:
            try:
                self._make("all", deadline=deadline, step=step)
            except CommandFailed as error:
                raise self._explain(error) from None
        if not (self.scratch / "seeded").exists():
            counts = {**known, self.target.name: len(_announced(self.log))}
            write_atomically(record, json.dumps(counts, indent=1) + "\n")
        seconds = time.monotonic() - started
        with self.log.open("a", encoding="utf-8") as file:
            file.write(f"harness: compiled in {seconds:.0f} s\n")

    def _explain(self, error: CommandFailed) -> Exception:
        """A failed make in the user's terms; make itself goes on where it stopped the next time."""
        found = diagnostics.first_error(
            error.output, {str(SOURCE): self.source.path, str(OUTPUT): self.output}
        )
        if error.status < 0 or re.search(r"\bKilled\b", error.output):
            return InfrastructureError(
                "the compiler was killed, most likely for want of memory",
                "set HARNESS_JOBS to a smaller number of jobs and start again: it goes on where it stopped",
                self.log,
            )
        if found is None or not found.file:
            return InfrastructureError(
                f"the kernel {self.target.name} does not build: {found or error.what}", "", self.log
            )
        return UserError(
            f"the kernel {self.target.name} does not compile: {found}\n{found.context}",
            "correct the tree or the patch",
            self.log,
        )

    def _seed(self) -> None:
        """Begin with a copy of the newest kernel for the same target, so that only changes are compiled."""
        seed = next(iter(earlier_builds(self.store, self.target.name, self.root.key)), None)
        if seed is None:
            return
        need_space(self.scratch, 2 * _KERNEL_BYTES, f"the kernel {self.target.name}")
        with self.progress.step(f"kernel {self.target.name}: starting from an earlier build"):
            temporary = self.scratch / "out.tmp"
            script = 'rm -rf "$2" && cp -a --reflink=auto "$1" "$2"'
            command.run(
                ["bash", "-c", script, "seed", str(seed.path / "out"), str(temporary)],
                deadline=Deadline.after(_CONFIGURE_SECONDS, "copying an earlier kernel"),
            )
            changed = align_times(seed.tree, self.source.path)
            (self.scratch / "seeded").touch()
            if seed.requests == self._requests_key and not any(map(decides_options, changed)):
                (self.scratch / "configured").touch()
            temporary.rename(self.output)

    @property
    def _requests_key(self) -> str:
        return digest(kconfig.as_text(self.requests))


def _announced(log: Path) -> set[str]:
    """The steps that make has announced so far, in this compilation and in those that were interrupted."""
    try:
        text = log.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return set()
    return {line for line in text.splitlines() if _LINE.match(line)}


def _read_counts(record: Path) -> dict[str, int]:
    try:
        counts = json.loads(record.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return {str(name): int(count) for name, count in counts.items()} if isinstance(counts, dict) else {}


def find_vermagic(output: Path) -> str:
    """The string that a module's vermagic must equal: vermagic[] of kernel/module/main.c, from vmlinux."""
    release = (output / "include/config/kernel.release").read_bytes().strip()
    with (output / "vmlinux").open("rb") as file, mmap(file.fileno(), 0, access=ACCESS_READ) as content:
        if (found := re.search(rb"(?<![ -~])(" + re.escape(release) + rb" [\w. ]*)\0", content)) is None:
            raise InfrastructureError(f"the kernel {release.decode()} holds no vermagic")
        return bytes(found.group(1)).decode()
