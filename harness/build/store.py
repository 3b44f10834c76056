# SPDX-License-Identifier: GPL-2.0-only
"""The cache: everything that was built, by the hash of what it was built from.

An artefact is a directory ``CACHE/KIND/KEY``. It is made under a temporary name on the same file
system and renamed when it is complete, under a lock that other processes wait for. Killing a build
at any moment leaves a temporary that the next one removes, never half an artefact.

Work that can go on where it stopped (a kernel's compilation, a download) happens in a scratch
directory ``CACHE/scratch/KIND/KEY`` that stays, under the same kind of lock.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from filelock import FileLock, Timeout

from harness import settings
from harness.errors import InfrastructureError

_MANIFEST: Final = ".artefact.json"
_TEMPORARY: Final = ".tmp-"
_PATIENCE_SECONDS: Final = 2.0
"""Whoever waits longer for a lock is told so."""
_SMALL_TREE: Final = 64
"""Up to so many files are flushed one by one; above that the file system is told to flush itself."""


def digest(*parts: str | bytes | Path) -> str:
    """A hexadecimal key of ``parts``.

    Text counts as it is, a file by its content, a directory by the names, modes and contents below it.
    """
    total = hashlib.sha256()
    for part in parts:
        if isinstance(part, Path):
            _digest_path(total, part)
        else:
            data = part.encode() if isinstance(part, str) else part
            total.update(b"text %d\0" % len(data) + data)
    return total.hexdigest()[:32]


def _digest_path(total: hashlib._Hash, path: Path) -> None:
    if not path.is_dir():
        _digest_file(total, "", path)
        return
    total.update(b"directory\0")
    for child in sorted(path.rglob("*")):
        name = child.relative_to(path).as_posix()
        if child.is_symlink():
            total.update(f"link {name}\0{os.readlink(child)}\0".encode())
        elif child.is_file():
            _digest_file(total, name, child)
    total.update(b"end\0")


def _digest_file(total: hashlib._Hash, name: str, path: Path) -> None:
    with path.open("rb") as file:
        content = hashlib.file_digest(file, "sha256").hexdigest()
    executable = path.stat().st_mode & 0o111 != 0
    total.update(f"file {name}\0{executable}\0{content}\0".encode())


def human(count: int) -> str:
    """A number of bytes for a person."""
    value = float(count)
    for unit in ("B", "kB", "MB"):
        if value < 1000:
            return f"{value:.0f} {unit}"
        value /= 1000
    return f"{value:.1f} GB"


def no_space(path: Path) -> InfrastructureError:
    """The error for a file system that ran full while something was written below ``path``."""
    return InfrastructureError(
        f"no space left on the file system of {path}",
        "make room there (harness clean gives the cache back), or set HARNESS_CACHE to a place with more",
    )


def need_space(path: Path, needed: int, what: str) -> None:
    """Raise :class:`InfrastructureError` when fewer than ``needed`` bytes are free where ``path`` is."""
    place = path
    while not place.exists():
        place = place.parent
    free = shutil.disk_usage(place).free
    if free < needed:
        raise InfrastructureError(
            f"{what} needs {human(needed)} at {place}, where {human(free)} are free",
            "make room there (harness clean gives the cache back), or set HARNESS_CACHE to a place with more",
        )


def _mounts_below(path: Path) -> list[str]:
    """Mount points at or below ``path`` (man 5 proc, mountinfo: the fifth field)."""
    place = os.path.realpath(path)
    points = [
        line.split()[4] for line in Path("/proc/self/mountinfo").read_text(encoding="utf-8").splitlines()
    ]
    points = [point.replace("\\040", " ") for point in points]
    return [point for point in points if point == place or point.startswith(f"{place}/")]


def remove_tree(path: Path) -> None:
    """Remove ``path`` and all below it, whatever its modes; nothing when it is not there.

    Raises :class:`InfrastructureError` when something is mounted there: that is not ours to remove.
    """
    if mounts := _mounts_below(path):
        raise InfrastructureError(
            f"{path} cannot be removed: {mounts[0]} is mounted", f"run: umount -R {mounts[0]}"
        )

    def open_up(
        function: Callable[[str], object], name: str, failure: tuple[object, BaseException, object]
    ) -> None:
        if isinstance(failure[1], PermissionError):
            with suppress(OSError):
                os.chmod(os.path.dirname(name), 0o700)
                os.chmod(name, 0o700)
            with suppress(FileNotFoundError):
                function(name)
        elif not isinstance(failure[1], FileNotFoundError):
            raise failure[1]

    with suppress(FileNotFoundError):
        if path.is_symlink() or path.is_file():
            path.unlink()
        else:
            shutil.rmtree(path, onerror=open_up)


def write_atomically(path: Path, text: str) -> None:
    """Write ``text`` so that a reader sees all of it or what was there before."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with temporary.open("w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def disk_bytes(path: Path) -> int:
    """Bytes on disk below ``path``; a file with several names counts by its share."""
    total = 0
    stack = [os.fspath(path)]
    while stack:
        with suppress(OSError), os.scandir(stack.pop()) as entries:
            for entry in entries:
                facts = entry.stat(follow_symlinks=False)
                if stat.S_ISDIR(facts.st_mode):
                    stack.append(entry.path)
                total += facts.st_blocks * 512 // max(1, facts.st_nlink if stat.S_ISREG(facts.st_mode) else 1)
    return total


class Store:
    """The cache below one directory (default: :func:`harness.settings.cache_dir`)."""

    def __init__(self, root: Path | None = None) -> None:
        self.root = root or settings.cache_dir()

    def path(self, kind: str, key: str) -> Path:
        """Where an artefact is or would be."""
        return self.root / kind / key

    def ready(self, kind: str, key: str) -> Path | None:
        """The finished artefact, or None."""
        path = self.path(kind, key)
        return path if (path / _MANIFEST).exists() else None

    def make(self, kind: str, key: str, build: Callable[[Path], None]) -> Path:
        """The artefact's directory, made by ``build(directory)`` when it is not there yet.

        Waits when somebody else is making it. Raises what ``build`` raises.
        """
        if (found := self.ready(kind, key)) is not None:
            return found
        with self.lock(kind, key):
            if (found := self.ready(kind, key)) is not None:
                return found
            self._remove_stale(kind)
            temporary = self.path(kind, _TEMPORARY + key)
            remove_tree(temporary)
            try:
                temporary.mkdir(parents=True)
                build(temporary)
                return self._publish(temporary, kind, key)
            except OSError as error:
                if error.errno == errno.ENOSPC:
                    raise no_space(self.root) from None
                raise
            finally:
                remove_tree(temporary)

    def adopt(self, directory: Path, kind: str, key: str) -> Path:
        """Make a finished ``directory`` (of :meth:`scratch`) the artefact, by renaming it."""
        with self.lock(kind, key):
            if (found := self.ready(kind, key)) is not None:
                return found
            return self._publish(directory, kind, key)

    @contextmanager
    def scratch(self, kind: str, key: str) -> Iterator[Path]:
        """A work directory that stays when the work is interrupted, for one process at a time."""
        path = self.root / "scratch" / kind / key
        with self.lock(f"scratch-{kind}", key):
            try:
                path.mkdir(parents=True, exist_ok=True)
                os.utime(path)
                yield path
            except OSError as error:
                if error.errno == errno.ENOSPC:
                    raise no_space(self.root) from None
                raise

    @contextmanager
    def lock(self, kind: str, key: str) -> Iterator[None]:
        """Nobody else holds the lock of this name meanwhile. The system frees it when a process dies."""
        lock = FileLock(self._lock_file(kind, key))
        try:
            lock.acquire(timeout=_PATIENCE_SECONDS)
        except Timeout:
            print(f"waiting for another process that works on {kind} {key}", file=sys.stderr, flush=True)
            lock.acquire()
        try:
            yield
        finally:
            lock.release()

    def touch(self, kind: str, key: str) -> None:
        """Remember that an artefact is in use, so that :meth:`forget` spares it."""
        with suppress(OSError):
            os.utime(self.path(kind, key) / _MANIFEST)

    def forget(self, kind: str, *, keep: int, prefix: str = "", idle_seconds: float = 3600.0) -> None:
        """Remove artefacts of ``kind`` beyond the ``keep`` used last; never one used a moment ago.

        Only those are looked at whose key begins with ``prefix``.
        """
        mine = [path for path in self._artefacts(kind) if path.name.startswith(prefix)]
        artefacts = [path for path in mine if (path / _MANIFEST).exists()]
        artefacts.sort(key=lambda path: (path / _MANIFEST).stat().st_mtime, reverse=True)
        for path in artefacts[keep:]:
            if time.time() - (path / _MANIFEST).stat().st_mtime > idle_seconds:
                self._discard(path)

    def sweep(self, kind: str, prefix: str, *, keep: int = 0) -> None:
        """Remove scratch directories by ``prefix`` of key; the ``keep`` newest and those in use stay."""
        folders = [path for path in (self.root / "scratch" / kind).glob(f"{prefix}*") if path.is_dir()]
        folders.sort(key=lambda path: path.stat().st_mtime, reverse=True)
        for path in folders[keep:]:
            with suppress(Timeout), FileLock(self._lock_file(f"scratch-{kind}", path.name), timeout=0):
                remove_tree(path)

    def size(self) -> dict[str, int]:
        """Bytes on disk by kind; scratch and downloads count as ``scratch``."""
        if not self.root.is_dir():
            return {}
        kinds = sorted(path for path in self.root.iterdir() if path.is_dir() and path.name != "locks")
        return {path.name: disk_bytes(path) for path in kinds}

    def clean(self, kinds: Iterable[str] | None = None) -> int:
        """Remove everything, or the artefacts of ``kinds``; the number of bytes given back."""
        sizes = self.size()
        chosen = list(sizes) if kinds is None else [kind for kind in kinds if kind in sizes]
        for kind in chosen:
            # Renamed first: whatever happens then, no half artefact is left under a good name.
            for path in self._artefacts(kind):
                self._discard(path)
            remove_tree(self.root / kind)
        if kinds is None:
            remove_tree(self.root / "locks")
        return sum(sizes[kind] for kind in chosen)

    def _artefacts(self, kind: str) -> list[Path]:
        folder = self.root / kind
        return [path for path in folder.iterdir() if path.is_dir()] if folder.is_dir() else []

    def _discard(self, path: Path) -> None:
        doomed = path.with_name(f"{_TEMPORARY}gone-{path.name}")
        with suppress(OSError):
            remove_tree(doomed)
            path.rename(doomed)
        remove_tree(doomed)

    def _lock_file(self, kind: str, key: str) -> Path:
        folder = self.root / "locks"
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise InfrastructureError(
                f"the cache {self.root} cannot be written: {error.strerror}",
                "set HARNESS_CACHE to a directory that can",
            ) from None
        return folder / f"{kind}-{key}"

    def _remove_stale(self, kind: str) -> None:
        """Remove the temporaries of builds that were killed: those whose lock nobody holds."""
        for path in self._artefacts(kind):
            if not path.name.startswith(_TEMPORARY):
                continue
            key = path.name.removeprefix(_TEMPORARY)
            with suppress(Timeout), FileLock(self._lock_file(kind, key), timeout=0):
                remove_tree(path)

    def _publish(self, directory: Path, kind: str, key: str) -> Path:
        facts = {"kind": kind, "key": key, "made": int(time.time())}
        (directory / _MANIFEST).write_text(json.dumps(facts) + "\n", encoding="utf-8")
        _flush(directory)
        final = self.path(kind, key)
        final.parent.mkdir(parents=True, exist_ok=True)
        remove_tree(final)
        directory.rename(final)
        return final


def _flush(directory: Path) -> None:
    """Bring what is below ``directory`` to the disk, so that a rename never outruns the content."""
    files: list[Path] = []
    for path in directory.rglob("*"):
        if path.is_file() and not path.is_symlink():
            files.append(path)
        if len(files) > _SMALL_TREE:
            subprocess.run(["sync", "-f", os.fspath(directory)], check=False, stderr=subprocess.DEVNULL)
            return
    for path in files:
        with path.open("rb") as file:
            os.fsync(file.fileno())
