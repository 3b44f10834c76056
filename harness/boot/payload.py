# SPDX-License-Identifier: GPL-2.0-only
"""The payload disk: files for one guest, as a tar on a read-only disk of fixed size.

The size is fixed because a clone's disks must look like its template's. ``guests/unpack.c`` reads it.
"""

from __future__ import annotations

import io
import os
import tarfile
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Final

from harness.build.store import Store, digest, human
from harness.errors import UserError

SIZE: Final = 16 << 20
_KEEP: Final = 256
UNPACK: Final = "unpack /dev/payload"
"""What a guest runs to have the files of its payload below ``/``."""
_IMAGE: Final = "payload.tar"


def pack(files: Mapping[str, Path], store: Store) -> Path:
    """The disk that holds ``files`` (name in the guest, relative to ``/``: file on the host).

    The same files give the same disk. Raises :class:`UserError` for a name that leaves ``/`` or files
    that do not fit.
    """
    for name in files:
        path = PurePosixPath(name)
        if path.is_absolute() or ".." in path.parts or not path.parts:
            raise UserError(f"{name!r} is no name for a file in the guest", "give a path relative to /")
    facts = [part for name in sorted(files) for part in (name, files[name])]
    key = digest("payload 2", str(SIZE), *facts)
    directory = store.make("payload", key, lambda there: _write(files, there / _IMAGE))
    store.touch("payload", key)
    store.forget("payload", keep=_KEEP)
    return directory / _IMAGE


def _write(files: Mapping[str, Path], image: Path) -> None:
    with image.open("wb") as out, tarfile.open(fileobj=out, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        for folder in sorted({parent for name in files for parent in PurePosixPath(name).parents[:-1]}):
            entry = tarfile.TarInfo(f"{folder}/")
            entry.type, entry.mode = tarfile.DIRTYPE, 0o755
            tar.addfile(entry)
        for name in sorted(files):
            data = files[name].read_bytes()
            entry = tarfile.TarInfo(name)
            entry.size = len(data)
            entry.mode = 0o755 if files[name].stat().st_mode & 0o100 else 0o644
            tar.addfile(entry, io.BytesIO(data))
    written = image.stat().st_size
    if written > SIZE:
        raise UserError(
            f"the files for the guest are {human(written)}, the disk for them holds {human(SIZE)}",
            "strip the module of its debug information, or give the scenario fewer files",
        )
    os.truncate(image, SIZE)
