# SPDX-License-Identifier: GPL-2.0-only
"""The build root: a Debian system of our own that holds the toolchain and QEMU.

mmdebstrap makes it once; bubblewrap enters it, as root or as an ordinary user. Inside, the root is
read only and nothing of the host is seen but the directories a command asks for.
"""

from __future__ import annotations

import os
import platform
import re
import subprocess
import tomllib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

from harness import settings
from harness.build import command, host, mirror
from harness.build.command import CommandFailed
from harness.build.store import Store, digest, need_space
from harness.deadline import Deadline
from harness.errors import InfrastructureError, UserError
from harness.progress import Progress, Step
from harness.settings import PROJECT

CONFIG: Final = PROJECT / "kernel-config" / "root.toml"
_MAKE_SECONDS: Final = 3600
_ROOT_BYTES: Final = 2_500_000_000
"""What the root takes while it is made; 1.9 GB are left in the end."""
_TOOLS: Final = ("usr/bin/clang", "usr/bin/ld.lld", "usr/bin/rustc", "usr/bin/bindgen", "usr/bin/make")
_DEBIAN_ARCH: Final = {"x86_64": "amd64", "aarch64": "arm64"}
_PHASES: Final = 8
"""mmdebstrap announces so many."""
_ENVIRONMENT: Final = {
    "PATH": "/usr/sbin:/usr/bin:/sbin:/bin",
    "HOME": "/tmp",
    "LC_ALL": "C.UTF-8",
    "TERM": "dumb",
    "TMPDIR": "/tmp",
}


@dataclass(frozen=True, slots=True)
class RootConfig:
    """``kernel-config/root.toml``: the suite, the packages, and the paths that are left out."""

    suite: str
    packages: tuple[str, ...]
    exclude: tuple[str, ...]

    @classmethod
    def load(cls, path: Path = CONFIG) -> Self:
        facts = tomllib.loads(path.read_text(encoding="utf-8"))
        return cls(facts["suite"], tuple(facts["packages"]), tuple(facts["exclude"]))

    def key(self, arch: str) -> str:
        return digest(self.suite, *self.packages, "exclude", *self.exclude, arch)


@dataclass(frozen=True, slots=True)
class BuildRoot:
    """A root that can be entered. ``key`` tells one toolchain from another."""

    path: Path
    key: str

    @classmethod
    def find(cls, store: Store) -> Self | None:
        """The root if there is one, without making anything."""
        if (own := settings.own_root()) is not None:
            return cls(own, _own_key(own))
        path = store.ready("root", RootConfig.load().key(host_arch()))
        if path is None:
            return None
        return cls(path / "root", (path / "toolchain").read_text(encoding="utf-8").strip())

    @classmethod
    def ensure(cls, store: Store, progress: Progress) -> Self:
        """The root, made now if there is none. Raises :class:`InfrastructureError` when it cannot be."""
        found = cls.find(store)
        missing = host.missing_packages(to_build_root=found is None)
        if missing:
            with progress.step(f"installing {', '.join(missing)}"):
                host.require(missing)
        if found is not None:
            return found
        host.require_namespaces()
        need_space(store.root, _ROOT_BYTES, "the build root")
        config, arch = RootConfig.load(), host_arch()
        with progress.step(f"build root: Debian {config.suite}", total=_PHASES) as step:
            store.make("root", config.key(arch), lambda there: _debootstrap(config, arch, there, step))
        store.forget("root", keep=1)
        made = cls.find(store)
        assert made is not None
        return made

    def command(
        self,
        argv: Sequence[str],
        *,
        cwd: Path | None = None,
        writable: Sequence[Path] = (),
        readable: Sequence[Path] = (),
        mounts: Mapping[str, Path] | None = None,
        env: Mapping[str, str] | None = None,
        network: bool = False,
    ) -> list[str]:
        """The command line that runs ``argv`` inside.

        ``readable`` and ``writable`` host directories are seen at their own paths; ``mounts`` puts a
        host directory at another path, for writing when it is also (or lies below one) in ``writable``.
        /dev/kvm is there when the host has it.
        """
        line = [
            "bwrap",
            "--die-with-parent",
            "--unshare-pid",
            "--unshare-ipc",
            "--unshare-uts",
            "--hostname",
            "harness",
        ]
        line += [] if network else ["--unshare-net"]
        line += ["--clearenv"]
        for name, value in {**_ENVIRONMENT, **(env or {})}.items():
            line += ["--setenv", name, value]
        line += _system_binds(self.path)
        line += [
            "--dev",
            "/dev",
            "--dev-bind-try",
            "/dev/kvm",
            "/dev/kvm",
            "--proc",
            "/proc",
            "--tmpfs",
            "/tmp",
        ]
        line += _host_binds(cwd, writable, readable, mounts or {})
        if cwd is not None:
            line += ["--chdir", os.fspath(cwd)]
        return [*line, "--", *argv]

    def run(
        self,
        argv: Sequence[str],
        *,
        deadline: Deadline,
        cwd: Path | None = None,
        writable: Sequence[Path] = (),
        readable: Sequence[Path] = (),
        mounts: Mapping[str, Path] | None = None,
        env: Mapping[str, str] | None = None,
        network: bool = False,
        log: Path | None = None,
        on_line: Callable[[str], None] | None = None,
    ) -> str:
        """Run ``argv`` inside; its output. Raises as :func:`harness.build.command.run` does."""
        line = self.command(
            argv, cwd=cwd, writable=writable, readable=readable, mounts=mounts, env=env, network=network
        )
        try:
            return command.run(line, deadline=deadline, name=argv[0], log=log, on_line=on_line)
        except CommandFailed as error:
            if re.match(r"bwrap: .*(namespace|uid map|Operation not permitted)", error.output):
                host.require_namespaces()
            raise


def _system_binds(root: Path) -> list[str]:
    """Show the root's system directories. What lies between stays writable, so that mounts find a place."""
    if not (root / "usr").is_dir():
        raise UserError(
            f"{root} is not a root: it has no usr", "HARNESS_ROOT must name a system with a toolchain"
        )
    binds: list[str] = []
    for path in sorted(root.iterdir()):
        inside = f"/{path.name}"
        if path.is_symlink() and re.fullmatch(r"bin|sbin|lib\w*", path.name):
            binds += ["--symlink", os.readlink(path), inside]
        elif path.is_dir() and re.fullmatch(r"usr|etc|bin|sbin|lib\w*", path.name):
            binds += ["--ro-bind", os.fspath(path), inside]
    return binds


def _host_binds(
    cwd: Path | None, writable: Sequence[Path], readable: Sequence[Path], mounts: Mapping[str, Path]
) -> list[str]:
    """Mount the host's directories, the outer ones first, so that an inner one is not covered."""
    wanted: dict[str, tuple[str, Path]] = {os.fspath(path): ("--ro-bind", path) for path in readable}
    wanted |= {os.fspath(path): ("--bind", path) for path in writable if path not in mounts.values()}
    for inside, path in mounts.items():
        wanted[inside] = (
            "--bind" if any(path.is_relative_to(other) for other in writable) else "--ro-bind",
            path,
        )
    if cwd is not None and not any(cwd.is_relative_to(inside) for inside in wanted):
        wanted[os.fspath(cwd)] = ("--ro-bind", cwd)
    binds: list[str] = []
    for inside in sorted(wanted, key=lambda name: (name.count("/"), name)):
        how, path = wanted[inside]
        binds += [how, os.fspath(path), inside]
    return binds


def host_arch() -> str:
    machine = platform.machine()
    if machine not in _DEBIAN_ARCH:
        raise InfrastructureError(
            f"the build root is not prepared for {machine} hosts",
            "set HARNESS_ROOT to a root with a toolchain",
        )
    return _DEBIAN_ARCH[machine]


def _own_key(root: Path) -> str:
    """A key for the user's own toolchain that changes when one of its main programs does."""
    facts = [os.fspath(root)]
    for name in _TOOLS:
        try:
            tool = (root / name).stat()
        except OSError:
            raise UserError(
                f"HARNESS_ROOT {root} has no {name}",
                "it must hold clang, lld, llvm, rustc, rust-src, bindgen and QEMU",
            ) from None
        facts.append(f"{name} {tool.st_size} {tool.st_mtime_ns}")
    return digest("own", *facts)


def _debootstrap(config: RootConfig, arch: str, directory: Path, step: Step) -> None:
    """Make the root below ``directory`` and write down what is in it."""
    root = directory / "root"
    where = mirror.find()
    aptconf = directory / "apt.conf"
    aptconf.write_text(mirror.acquire_settings(), encoding="utf-8")
    argv = [
        host.find_program("mmdebstrap") or "mmdebstrap",
        "--variant=essential",
        f"--architectures={arch}",
        f"--aptopt={aptconf}",
        f"--include={','.join(config.packages)}",
        *(f"--dpkgopt=path-exclude={pattern}" for pattern in config.exclude),
    ]
    source = mirror.source_line(where, config.suite)

    def on_line(text: str) -> None:
        if text.startswith("I: "):
            step.update(done=min(step.done + 1, _PHASES), note=text[3:])

    deadline = Deadline.after(_MAKE_SECONDS, "making the build root")
    log = directory / "mmdebstrap.log"
    try:
        if host.is_root():
            # What mmdebstrap mounts must go with it, however it ends.
            private = ["unshare", "--mount", "--propagation=private", "--pid", "--fork", "--kill-child", "--"]
            line = [*private, *argv, "--mode=root", config.suite, os.fspath(root), source]
            command.run(line, deadline=deadline, name="mmdebstrap", log=log, on_line=on_line)
        else:
            _debootstrap_as_user(
                [*argv, "--mode=unshare", config.suite], source, root, deadline, log, on_line
            )
    except CommandFailed as error:
        raise mirror.explain(error, where) from None
    aptconf.unlink()
    (directory / "toolchain").write_text(digest(_installed(root)) + "\n", encoding="utf-8")


def _debootstrap_as_user(
    argv: list[str], source: str, root: Path, deadline: Deadline, log: Path, on_line: Callable[[str], None]
) -> None:
    """Make the root as an ordinary user: as a tar stream, unpacked with the user as owner of everything.

    A root that mmdebstrap writes as a directory would belong to ids that the user can neither read
    nor remove.
    """
    root.mkdir()
    # The ids of the namespace cannot enter a private home; /var/tmp is open to all and on a disk.
    environment = os.environ | {"TMPDIR": "/var/tmp", "LC_ALL": "C"}
    script = (
        'set -o pipefail; root=$1; shift; "$@" | tar -C "$root" --no-same-owner --exclude="./dev/*" -xf -'
    )
    shell = ["bash", "-c", script, "mmdebstrap", os.fspath(root), *argv, "-", source]
    command.run(shell, deadline=deadline, name="mmdebstrap", env=environment, log=log, on_line=on_line)


def _installed(root: Path) -> str:
    """Packages and versions of a root, a line each."""
    status = (root / "var/lib/dpkg/status").read_text(encoding="utf-8", errors="replace")
    names = re.findall(r"^(?:Package|Version): (.*)$", status, re.MULTILINE)
    return "\n".join(names)


def tool_versions(root: BuildRoot) -> dict[str, str]:
    """The first line that each main tool says of itself; for harness doctor."""
    versions = {}
    for name in ("clang", "rustc", "bindgen", "qemu-system-x86_64"):
        try:
            line = root.command([name, "--version"])
            text = subprocess.run(line, capture_output=True, text=True, timeout=60, check=True).stdout
            versions[name] = (text.splitlines() or [""])[0]
        except (OSError, subprocess.SubprocessError):
            versions[name] = "does not run"
    return versions
