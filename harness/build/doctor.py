# SPDX-License-Identifier: GPL-2.0-only
"""What this machine can do, a finding a line, each with what to do about it."""

from __future__ import annotations

import os
import shutil
import sys
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import psutil

from harness import settings
from harness.build import host, mirror
from harness.build.root import BuildRoot, RootConfig, tool_versions
from harness.build.store import Store, human
from harness.errors import HarnessError
from harness.progress import Progress, quiet

_CACHE_BYTES: Final = 8_000_000_000
_MEMORY_BYTES: Final = 3_000_000_000
_PYTHON: Final = (3, 11)
_MIRROR_SECONDS: Final = 15


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of the doctor's: ``ok`` is None where it is neither good nor bad."""

    name: str
    ok: bool | None
    says: str
    todo: str = ""


def examine(
    store: Store | None = None,
    progress: Progress | None = None,
    *,
    prove_kvm: Callable[[], Finding] | None = None,
) -> list[Finding]:
    """Look at everything. ``prove_kvm`` boots a kernel under KVM, which is the only proof that it works."""
    cache = store or Store()
    findings = [_python(), _processors(), _memory(), _disk(cache), _packages(), _namespaces()]
    findings += [_mirror(), *_root(cache, progress or quiet()), _kvm(prove_kvm), _cache(cache)]
    return findings


def _python() -> Finding:
    version = sys.version_info
    says = f"{version.major}.{version.minor}.{version.micro}"
    return Finding(
        "python", version[:2] >= _PYTHON, says, "" if version[:2] >= _PYTHON else "install Python 3.11"
    )


def _processors() -> Finding:
    count = len(os.sched_getaffinity(0))
    return Finding(
        "processors", None, f"{count}; {settings.jobs()} compile jobs at once", "HARNESS_JOBS changes that"
    )


def _memory() -> Finding:
    free = psutil.virtual_memory().available
    ok = free >= _MEMORY_BYTES
    todo = "" if ok else f"a kernel's compilation wants {human(_MEMORY_BYTES)}; try HARNESS_JOBS=1"
    return Finding("memory", ok, f"{human(free)} available", todo)


def _disk(store: Store) -> Finding:
    place = store.root
    while not place.exists():
        place = place.parent
    free = shutil.disk_usage(place).free
    have = sum(store.size().values())
    ok = free + have >= _CACHE_BYTES
    todo = (
        ""
        if ok
        else f"the cache takes up to {human(_CACHE_BYTES)}: make room, or set HARNESS_CACHE to another disk"
    )
    return Finding("disk", ok, f"{human(free)} free at {place}", todo)


def _packages() -> Finding:
    missing = host.missing_packages(to_build_root=settings.own_root() is None)
    if not missing:
        return Finding("packages", True, "bubblewrap, mmdebstrap and Debian's keys are there")
    command = f"apt-get install --no-install-recommends {' '.join(missing)}"
    todo = "they are installed by the first build" if host.is_root() else f"run: sudo {command}"
    return Finding("packages", host.is_root(), f"missing: {', '.join(missing)}", todo)


def _namespaces() -> Finding:
    trouble = host.namespace_trouble()
    if trouble is None:
        return Finding("namespaces", True, "bubblewrap enters a namespace")
    return Finding("namespaces", False, *trouble)


def _mirror() -> Finding:
    try:
        url = mirror.find()
    except HarnessError as error:
        return Finding("mirror", False, error.what, error.todo)
    if not url.startswith("http"):
        return Finding("mirror", None, f"{url} (not tried)")
    suite = RootConfig.load().suite
    try:
        with urllib.request.urlopen(f"{url}/dists/{suite}/InRelease", timeout=_MIRROR_SECONDS) as answer:
            answer.read(1)
    except (urllib.error.URLError, OSError) as error:
        # apt may have a proxy that we do not use here, so this is no verdict.
        return Finding(
            "mirror", None, f"{url} does not answer us ({error})", "apt may still reach it by its proxy"
        )
    return Finding("mirror", True, f"{url} serves {suite}")


def _root(store: Store, progress: Progress) -> Iterator[Finding]:
    found = BuildRoot.find(store)
    if found is None:
        yield Finding("build root", None, "not made yet", "the first build makes it, in about two minutes")
        return
    yield Finding("build root", True, f"{found.path}")
    with progress.step("asking the tools for their versions"):
        versions = tool_versions(found)
    for name, says in versions.items():
        works = says != "does not run"
        yield Finding(name, works, says, "" if works else "harness clean, then build again")


def _kvm(prove: Callable[[], Finding] | None) -> Finding:
    device = Path("/dev/kvm")
    if not device.exists():
        return Finding("KVM", None, "there is no /dev/kvm: guests are emulated", "not needed, only faster")
    if not os.access(device, os.R_OK | os.W_OK):
        return Finding("KVM", None, "/dev/kvm is there, but not for us", "add yourself to the group kvm")
    if prove is None:
        return Finding("KVM", None, "/dev/kvm can be opened; only a boot proves that it works")
    return prove()


def _cache(store: Store) -> Finding:
    sizes = store.size()
    parts = ", ".join(f"{kind} {human(size)}" for kind, size in sizes.items())
    total = human(sum(sizes.values()))
    return Finding(
        "cache", None, f"{store.root}: {total}" + (f" ({parts})" if parts else ""), "harness clean removes it"
    )
