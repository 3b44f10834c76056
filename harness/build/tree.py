# SPDX-License-Identifier: GPL-2.0-only
"""Kernel sources: the pinned Debian package, or a directory, a tarball or a git reference of the user's.

Whatever it comes from, it is unpacked into the cache (``source``) and a copy that shares its files
by hard links gets the patches (``tree``). The user's own files are never written to.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from harness.build import command, patches
from harness.build.command import CommandFailed
from harness.build.mirror import Archive
from harness.build.root import BuildRoot
from harness.build.store import Store, digest, need_space, remove_tree
from harness.deadline import Deadline
from harness.errors import InfrastructureError, UserError
from harness.progress import Progress, Step
from harness.targets import Target, Tree

_DOWNLOAD_SECONDS: Final = 3600
_UNPACK_SECONDS: Final = 1200
_EDIT_SECONDS: Final = 60.0
_COPY: Final = 'find "$1" -mindepth 1 -maxdepth 1 ! -name .git -exec cp -a --reflink=auto -t "$2" {} +'
_TREE_BYTES: Final = 1_800_000_000
_TREE_RECORDS: Final = 165_000
"""tar's records of 10 KiB in a kernel's source; only the progress bar depends on it."""
_CHECKPOINT: Final = 1000
_NOT_A_KERNEL: Final = (
    "a kernel's source has a Makefile with VERSION and PATCHLEVEL, and a Kconfig, at its top"
)
_HOW_TO_NAME: Final = "give a directory, a tarball, or DIRECTORY@REFERENCE of a git repository"


@dataclass(frozen=True, slots=True)
class Source:
    """An unpacked and patched tree. ``release_hint`` is the version its Makefile states: ``7.3.4``."""

    path: Path
    release_hint: str
    key: str


@dataclass(frozen=True, slots=True)
class _Origin:
    """Where a tree comes from: its key, its name for a person, and how to put it into an empty directory."""

    key: str
    name: str
    unpack: Callable[[Path], None]
    family: str = ""
    """Of a directory that its user edits: its generations follow each other, and only the last two stay."""


def prepare(
    target: Target, store: Store, root: BuildRoot, progress: Progress, *, tree: str | None = None
) -> Source:
    """The source of ``target``, patched. ``tree`` names another one than the pinned package.

    Raises :class:`UserError` for a tree that is none and for a patch that does not apply,
    :class:`InfrastructureError` when the package cannot be had.
    """
    origin = (
        _of_user(tree, root, progress) if tree is not None else _pinned(target.tree, store, root, progress)
    )
    series = patches.series(target.tree.patches)
    key = origin.family + _key(origin.key, series)
    path = store.ready("tree", key)
    if path is None:
        path = _patched(origin, key, series, store, root, progress)
    store.touch("tree", key)
    linux = path / "linux"
    return Source(linux, kernel_version(linux), key)


def find(target: Target, store: Store) -> Source | None:
    """The patched pinned source if it is in the cache."""
    key = _key(_pinned_key(target.tree), patches.series(target.tree.patches))
    path = store.ready("tree", key)
    return None if path is None else Source(path / "linux", kernel_version(path / "linux"), key)


def _key(origin: str, series: tuple[Path, ...]) -> str:
    return digest("tree", origin, *(patch.read_bytes() for patch in series))


def _patched(
    origin: _Origin, key: str, series: tuple[Path, ...], store: Store, root: BuildRoot, progress: Progress
) -> Path:
    """Make the artefact ``tree``: the source with the patches applied."""
    if origin.family:
        fill = origin.unpack
        need_space(store.root, _TREE_BYTES, f"the source of {origin.name}")
    else:
        pristine = _pristine(origin, store)

        def fill(directory: Path) -> None:
            _link_copy(pristine / "linux", directory)

    def build(directory: Path) -> None:
        fill(directory / "linux")
        patches.apply(series, directory / "linux", root)

    with progress.step(f"source {origin.name}: {len(series)} patches"):
        path = store.make("tree", key, build)
    if origin.family:
        store.forget("tree", keep=2, prefix=origin.family, idle_seconds=_EDIT_SECONDS)
    else:
        store.forget("tree", keep=3)
    return path


def _pristine(origin: _Origin, store: Store) -> Path:
    """The artefact ``source``: what was unpacked, before any patch."""

    def unpack(directory: Path) -> None:
        need_space(store.root, _TREE_BYTES, f"the source of {origin.name}")
        origin.unpack(directory / "linux")
        kernel_version(directory / "linux")

    path = store.make("source", origin.key, unpack)
    store.touch("source", origin.key)
    store.forget("source", keep=2)
    return path


def _link_copy(source: Path, copy: Path) -> None:
    """A copy that shares every file; nothing in the cache writes to a file of a tree."""
    command.run(
        ["cp", "-a", "--link", os.fspath(source), os.fspath(copy)],
        deadline=Deadline.after(_UNPACK_SECONDS, "copying the kernel's source"),
    )


def kernel_version(tree: Path) -> str:
    """The version in a tree's Makefile. Raises :class:`UserError` when it is not a kernel's tree."""
    try:
        text = (tree / "Makefile").read_text(encoding="utf-8", errors="replace")[:4000]
    except OSError:
        text = ""
    found = dict(re.findall(r"^(VERSION|PATCHLEVEL|SUBLEVEL|EXTRAVERSION) *=[ \t]*(\S*)", text, re.MULTILINE))
    if not found.get("VERSION") or not found.get("PATCHLEVEL") or not (tree / "Kconfig").is_file():
        raise UserError(f"{tree} is not the source of a Linux kernel", _NOT_A_KERNEL)
    numbers = [found[name] for name in ("VERSION", "PATCHLEVEL", "SUBLEVEL") if found.get(name)]
    return ".".join(numbers) + str(found.get("EXTRAVERSION", ""))


# The pinned Debian package


def _pinned_key(tree: Tree) -> str:
    return digest("debian", tree.package, tree.version, tree.sha256)


def _pinned(tree: Tree, store: Store, root: BuildRoot, progress: Progress) -> _Origin:
    def unpack(directory: Path) -> None:
        with store.scratch("download", tree.package) as scratch:
            deb = _download(tree, scratch, progress)
            with progress.step(f"source {tree.name}: unpacking", total=_TREE_RECORDS) as step:
                _unpack_deb(deb, directory, root, step)
            # The unpacked tree is all that is needed from here on.
            remove_tree(scratch)

    return _Origin(_pinned_key(tree), tree.name, unpack)


def _download(tree: Tree, scratch: Path, progress: Progress) -> Path:
    """The package's file with the pinned hash, from ``scratch`` or the archive."""
    for found in scratch.glob(f"archives/{tree.package}_*.deb"):
        if _sha256(found) == tree.sha256:
            return found
        found.unlink()
    need_space(scratch, 400_000_000, f"the download of {tree.package}")
    deadline = Deadline.after(_DOWNLOAD_SECONDS, f"downloading {tree.package}")
    archive = Archive(scratch, tree.suite, "amd64")
    with progress.step(f"source {tree.name}: the archive's index"):
        archive.update(deadline)
    have = archive.versions(tree.package, deadline)
    if tree.version not in have:
        raise InfrastructureError(
            f"{tree.suite} no longer has {tree.package} {tree.version}, but {', '.join(have) or 'none'}",
            f"put a version that is there and its sha256 (apt-cache show {tree.package}) "
            "into kernel-config/trees.toml, or give a tree of your own with --tree",
        )
    with progress.step(f"source {tree.name}: downloading", total=100) as step:
        deb = archive.download(
            tree.package, tree.version, deadline, lambda percent: step.update(done=int(percent))
        )
    if (sha256 := _sha256(deb)) != tree.sha256:
        deb.unlink()
        raise InfrastructureError(
            f"{tree.package} {tree.version} has the sha256 {sha256}, pinned is {tree.sha256}",
            "correct kernel-config/trees.toml if you trust the archive, or set another HARNESS_MIRROR",
        )
    return deb


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _unpack_deb(deb: Path, directory: Path, root: BuildRoot, step: Step) -> None:
    script = 'dpkg-deb --fsys-tarfile "$1" | tar -xO --wildcards "./usr/src/*.tar.xz" | xz -dc | ' + _tar("-")
    _unpack(script, deb, directory, root, step)


def _tar(file: str) -> str:
    return (
        f'tar -xf {file} -C "$2" --strip-components=1 --checkpoint={_CHECKPOINT} --checkpoint-action=echo=%u'
    )


def _unpack(script: str, archive: Path, directory: Path, root: BuildRoot, step: Step) -> None:
    def line(text: str) -> None:
        if found := re.fullmatch(r"(?:tar: )?(\d+)", text.strip()):
            step.update(done=min(int(found.group(1)), _TREE_RECORDS))

    directory.mkdir(parents=True, exist_ok=True)
    root.run(
        ["bash", "-c", f"set -eo pipefail; {script}", "unpack", os.fspath(archive), os.fspath(directory)],
        readable=[archive.parent],
        writable=[directory],
        deadline=Deadline.after(_UNPACK_SECONDS, f"unpacking {archive.name}"),
        on_line=line,
    )


# Trees of the user's


def _of_user(name: str, root: BuildRoot, progress: Progress) -> _Origin:
    path = Path(name).expanduser().absolute()
    if path.is_file():
        return _tarball(path, root, progress)
    if path.is_dir():
        if (path / "HEAD").is_file() and (path / "objects").is_dir():
            return _git(path, "HEAD", progress)
        return _directory(path, root, progress)
    repository, at, reference = name.rpartition("@")
    folder = Path(repository).expanduser().absolute()
    if at and folder.is_dir():
        return _git(folder, reference, progress)
    raise UserError(f"there is no tree {name!r}", _HOW_TO_NAME)


def _tarball(path: Path, root: BuildRoot, progress: Progress) -> _Origin:
    def unpack(directory: Path) -> None:
        with progress.step(f"source {path.name}: unpacking", total=_TREE_RECORDS) as step:
            try:
                _unpack(_tar('"$1"'), path, directory, root, step)
            except CommandFailed as error:
                reason = (error.output.strip().splitlines() or [""])[0]
                raise UserError(f"{path} cannot be unpacked: {reason}", _HOW_TO_NAME) from None
        _check(directory, path)

    return _Origin(digest("tarball", path), path.name, unpack)


def _directory(path: Path, root: BuildRoot, progress: Progress) -> _Origin:
    kernel_version(path)

    def unpack(directory: Path) -> None:
        with progress.step(f"source {path.name}: copying"):
            directory.mkdir()
            command.run(
                ["bash", "-c", _COPY, "copy", os.fspath(path), os.fspath(directory)],
                deadline=Deadline.after(_UNPACK_SECONDS, f"copying {path}"),
            )
            _tidy(directory, root)

    key = digest("directory", os.fspath(path), _walk(path))
    return _Origin(key, path.name, unpack, family=f"edited-{digest(os.fspath(path))[:12]}-")


def _walk(path: Path) -> str:
    """A digest of names, sizes and times below ``path``: it changes when a file was written."""
    total = hashlib.sha256()
    stack = [os.fspath(path)]
    while stack:
        folder = stack.pop()
        with os.scandir(folder) as entries:
            for entry in sorted(entries, key=lambda entry: entry.name):
                if entry.name == ".git":
                    continue
                if entry.is_dir(follow_symlinks=False):
                    stack.append(entry.path)
                    continue
                facts = entry.stat(follow_symlinks=False)
                total.update(
                    f"{entry.path}\0{facts.st_size} {facts.st_mtime_ns}\0".encode(errors="surrogateescape")
                )
    return total.hexdigest()


def _tidy(tree: Path, root: BuildRoot) -> None:
    """Remove what a build inside the user's tree left: kbuild refuses such a tree as a source."""
    if (tree / ".config").exists() or (tree / "include/config").exists():
        root.run(
            ["make", "-C", os.fspath(tree), "mrproper"],
            writable=[tree],
            deadline=Deadline.after(_UNPACK_SECONDS, "make mrproper"),
        )


def _git(folder: Path, reference: str, progress: Progress) -> _Origin:
    if shutil.which("git") is None:
        raise InfrastructureError("this machine has no git", "apt-get install git")
    # A repository of somebody else's (a mount, say) is read all the same: nothing of it is executed.
    git = ["git", "-c", "safe.directory=*", "-C", os.fspath(folder)]
    wanted = [*git, "rev-parse", "--verify", "--quiet", "--end-of-options", f"{reference}^{{tree}}"]
    asked = subprocess.run(wanted, capture_output=True, text=True, check=False)
    if asked.returncode != 0:
        raise UserError(f"the git repository {folder} has no {reference!r}", _HOW_TO_NAME)
    commit: str = asked.stdout.strip()

    def unpack(directory: Path) -> None:
        directory.mkdir(parents=True)
        script = 'set -o pipefail; out=$1; shift; "$@" | tar -xf - -C "$out"'
        with progress.step(f"source {reference}: unpacking"):
            command.run(
                [
                    "bash",
                    "-c",
                    script,
                    "unpack",
                    os.fspath(directory),
                    *git,
                    "archive",
                    "--format=tar",
                    commit,
                ],
                deadline=Deadline.after(_UNPACK_SECONDS, f"unpacking {reference}"),
            )
        _check(directory, f"{folder}@{reference}")

    return _Origin(digest("git", commit), reference, unpack)


def _check(directory: Path, name: Path | str) -> None:
    """Raise :class:`UserError` that names what the user gave when what came out of it is no kernel."""
    try:
        kernel_version(directory)
    except UserError:
        raise UserError(f"{name} is not the source of a Linux kernel", _NOT_A_KERNEL) from None
