# SPDX-License-Identifier: GPL-2.0-only
"""Out-of-tree modules: a directory of the user's in, a .ko that the kernel would load out.

The user's directory is copied to a work directory that stays, with the times of its files, so that
kbuild compiles only what changed. ``common`` is copied beside it: the module's neighbour, or else ours.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from harness import settings
from harness.build import diagnostics
from harness.build.command import CommandFailed
from harness.build.kernel import OUTPUT, SOURCE, Kernel, build_environment, make_arguments
from harness.build.root import BuildRoot
from harness.build.store import Store, digest
from harness.deadline import Deadline
from harness.errors import InfrastructureError, UserError
from harness.progress import Progress
from harness.settings import PROJECT

STAGE: Final = Path("/build/modules")
_RECIPE: Final = "module 1"
_BUILD_SECONDS: Final = 900
_KEEP: Final = 16
_PRODUCTS: Final = re.compile(
    r".*\.(?:o|a|ko|mod|mod\.c|rmeta|symvers|order)|\..*\.(?:cmd|d)|modules\.order|\.tmp_.*|__pycache__|.*~|\..*\.sw.|\.git"
)
"""What a build or an editor leaves in a user's directory; it is neither copied nor counted."""


@dataclass(frozen=True, slots=True)
class Module:
    """A finished module. ``ko`` has its debug information, ``stripped`` is what goes to the guest."""

    name: str
    ko: Path
    stripped: Path
    build_id: str
    key: str


def source_files(directory: Path) -> list[Path]:
    """The files of a module's directory that matter, relative to it and sorted."""
    found: list[Path] = []
    for folder, folders, names in os.walk(directory):
        folders[:] = [name for name in folders if not _PRODUCTS.fullmatch(name)]
        found += [
            Path(folder, name).relative_to(directory) for name in names if not _PRODUCTS.fullmatch(name)
        ]
    return sorted(found)


def _sources_digest(directory: Path) -> str:
    parts: list[str | bytes | Path] = []
    for name in source_files(directory):
        parts += [name.as_posix(), (directory / name).read_bytes()]
    return digest(*parts)


def check_directory(directory: Path) -> Path:
    """``directory`` as an absolute path. Raises :class:`UserError` when no module can be built there."""
    path = directory.expanduser().absolute()
    if not path.is_dir():
        raise UserError(f"there is no module directory {directory}", "give a directory with a Kbuild file")
    if not (path / "Kbuild").is_file() and not (path / "Makefile").is_file():
        raise UserError(
            f"{directory} has neither a Kbuild nor a Makefile", "a module's Kbuild says: obj-m := NAME.o"
        )
    if not re.fullmatch(r"[\w.+-]+", path.name):
        raise UserError(
            f"kbuild cannot work in a directory called {path.name!r}", "use letters, digits, _ and -"
        )
    return path


def build_module(
    directory: Path, kernel: Kernel, store: Store, root: BuildRoot, progress: Progress
) -> Module:
    """The module in ``directory`` for ``kernel``, compiled now if it is not in the cache.

    Raises :class:`UserError` with the compiler's first error, or with what insmod would refuse.
    """
    path = check_directory(directory)
    name, key = _name_and_key(path, kernel)
    if store.ready("module", name) is None:
        common = common_of(path)
        with progress.step(f"module {path.name}: compiling"):
            store.make("module", name, lambda there: _build(path, common, kernel, store, root, there))
        store.forget("module", keep=_KEEP, prefix=f"{path.name}-")
        store.sweep("module", f"{path.name}-", keep=_KEEP)
    store.touch("module", name)
    return _load(store.path("module", name), key)


def find(directory: Path, kernel: Kernel, store: Store) -> Module | None:
    """The module if it is in the cache as its sources are now."""
    name, key = _name_and_key(check_directory(directory), kernel)
    path = store.ready("module", name)
    return None if path is None else _load(path, key)


def common_of(path: Path) -> Path:
    """The directory that the module in ``path`` shares with others; ours for a copy that left it behind."""
    beside = path.parent / "common"
    return beside if (beside / "ops.h").is_file() else PROJECT / "modules" / "common"


def _name_and_key(path: Path, kernel: Kernel) -> tuple[str, str]:
    parts = [_sources_digest(path), _sources_digest(common_of(path))]
    key = digest(_RECIPE, kernel.key, path.name, *parts)
    return f"{path.name}-{key}", key


def _load(path: Path, key: str) -> Module:
    facts = json.loads((path / "module.json").read_text(encoding="utf-8"))
    file = f"{facts['file']}.ko"
    return Module(facts["name"], path / file, path / "stripped" / file, facts["build_id"], key)


def _build(path: Path, common: Path, kernel: Kernel, store: Store, root: BuildRoot, there: Path) -> None:
    with store.scratch("module", f"{path.name}-{digest(kernel.key, os.fspath(path))}") as scratch:
        stage = scratch / "stage"
        _stage(path, stage / path.name)
        _stage(common, stage / "common")
        (there / "stripped").mkdir()
        _make(path, stage, kernel, root, scratch / "build.log")
        built = _the_module(stage / path.name, path)
        stripped = there / "stripped" / built.name
        shutil.copy2(built, there / built.name)
        root.run(
            ["llvm-strip", "--strip-debug", "-o", str(stripped), str(there / built.name)],
            writable=[there],
            deadline=Deadline.after(_BUILD_SECONDS, "stripping a module"),
        )
        from harness.build.elfcheck import check_module  # pyelftools: not for a module that is cached

        info = check_module(stripped, kernel)
        facts = {"name": info.name, "file": built.stem, "build_id": info.build_id, "kernel": kernel.key}
        (there / "module.json").write_text(json.dumps(facts) + "\n", encoding="utf-8")


def _stage(source: Path, stage: Path) -> None:
    """Make ``stage`` hold the files of ``source``; what kbuild made there stays unless its source went.

    A file whose content changed gets the time of now: an older version that is put back, with its old
    time, must be compiled again too.
    """
    stage.mkdir(parents=True, exist_ok=True)
    names = source_files(source)
    record = stage / ".staged"
    before = set(record.read_text(encoding="utf-8").splitlines()) if record.exists() else set()
    for gone in before - {str(name) for name in names}:
        (stage / gone).unlink(missing_ok=True)
        # Whatever was made of it goes too, so that nothing links a ghost.
        (stage / gone).with_suffix(".o").unlink(missing_ok=True)
    for name in names:
        _stage_file(source / name, stage / name)
    record.write_text("".join(f"{name}\n" for name in names), encoding="utf-8")


def _stage_file(source: Path, copy: Path) -> None:
    facts = source.stat()
    if copy.exists():
        old = copy.stat()
        if (old.st_size, old.st_mtime_ns) == (facts.st_size, facts.st_mtime_ns):
            return
        content = source.read_bytes()
        if content == copy.read_bytes():
            return
        when = time.time_ns()
    else:
        copy.parent.mkdir(parents=True, exist_ok=True)
        content, when = source.read_bytes(), facts.st_mtime_ns
    copy.write_bytes(content)
    copy.chmod(facts.st_mode & 0o777)
    os.utime(copy, ns=(when, when))


def _make(path: Path, stage: Path, kernel: Kernel, root: BuildRoot, log: Path) -> None:
    """Run kbuild in the staged copy. Raises :class:`UserError` with the first error in the user's file."""
    log.unlink(missing_ok=True)
    try:
        root.run(
            [*make_arguments(kernel.target.arch, settings.jobs()), f"M={STAGE / path.name}", "modules"],
            cwd=SOURCE,
            writable=[stage],
            mounts={str(SOURCE): kernel.source.path, str(OUTPUT): kernel.build_dir, str(STAGE): stage},
            env=build_environment(kernel.key),
            deadline=Deadline.after(_BUILD_SECONDS, f"compiling {path.name}"),
            log=log,
        )
    except CommandFailed as error:
        raise explain(error, path, kernel) from None


def explain(error: CommandFailed, path: Path, kernel: Kernel) -> Exception:
    """A failed compilation in terms of the user's own files."""
    mapping = {
        str(STAGE / path.name): path,
        str(STAGE / "common"): common_of(path),
        str(SOURCE): kernel.source.path,
    }
    # kbuild works in the module's directory, and names its files relative to that.
    output = re.sub(
        r"(?m)^(\s*--> )?(?:\./)?((?:\.\./common/)?[\w-]+\.(?:rs|c|h):\d+)", _absolute(path), error.output
    )
    output = output.replace(f"{STAGE / path.name}/../common/", f"{STAGE}/common/")
    found = diagnostics.first_error(output, mapping)
    if error.status < 0 or found is None:
        return InfrastructureError(f"the module {path.name} does not build: {error.what}", "", error.evidence)
    context = f"\n{found.context}" if found.file else ""
    return UserError(f"the module {path.name} does not compile: {found}{context}", "", error.evidence)


def _absolute(path: Path) -> str:
    return rf"\g<1>{STAGE / path.name}/\g<2>"


def _the_module(stage: Path, path: Path) -> Path:
    """The one .ko that came out. Raises :class:`UserError` when it is not clear which that is."""
    built = sorted(stage.glob("*.ko"), key=lambda file: file.stat().st_mtime)
    named = [file for file in built if file.stem.replace("-", "_") == path.name.replace("-", "_")]
    if named:
        return named[0]
    if len(built) != 1:
        made = "no .ko file" if not built else "several .ko files"
        raise UserError(
            f"{path} makes {made} and none called {path.name}.ko",
            f"let its Kbuild say: obj-m := {path.name}.o",
        )
    return built[0]
