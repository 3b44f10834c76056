# SPDX-License-Identifier: GPL-2.0-only
"""A guest that was booted once and frozen, and private copies of it that are ready at once.

The memory of a template is a file. A clone maps it privately: what it writes is its own, what it
only reads is shared with every other clone. The state of processors and devices is in a second, small
file that QEMU calls a migration (capability ``x-ignore-shared``: the memory is not in it).
"""

from __future__ import annotations

import json
import os
import secrets
import shutil
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final, Self

from harness import settings
from harness.boot import accel, qemu
from harness.boot.machine import Machine, await_guest, shell_answers
from harness.build.store import Store, digest
from harness.deadline import Deadline
from harness.errors import InfrastructureError
from harness.progress import Progress

if TYPE_CHECKING:
    from harness.build.artefacts import Artefacts
    from harness.build.root import BuildRoot

BOOT_SECONDS: Final = 120.0
"""A boot takes 2 s to 6 s, and several times that on a busy host."""
FREEZE_SECONDS: Final = 60.0
QUIET_SECONDS: Final = 2.0
BOOT_LOG: Final = "boot.log"
_RAM, _STATE, _MANIFEST = "ram", "state", "manifest.json"
_FORMAT: Final = "4"
_KEEP: Final = 24
_SEED_BYTES: Final = 32
_SEEDED: Final = b" seeded\n"
"""What guests/sample.c says when the random number generator has taken its seed."""
_NOT_LOADED: Final = "load of migration failed"
_LOOP: Final = "i=0; while [ $i -lt 20000 ]; do i=$((i+1)); done"
_CAPABILITIES: Final[Mapping[str, object]] = {
    "capabilities": [
        {"capability": "x-ignore-shared", "state": True},
        {"capability": "events", "state": True},
    ]
}


@dataclass(frozen=True, slots=True)
class Manifest:
    """What is known of a template. Times are seconds of this host."""

    target: str
    accel: str
    qemu: str
    cmdline: str
    boot_seconds: float
    """From QEMU's start to the answer of the guest's shell."""
    slowdown: float
    """How many times longer a shell loop takes in the guest than beside it on the host."""

    @classmethod
    def load(cls, path: Path) -> Self:
        return cls(**json.loads(path.read_text(encoding="utf-8")))


@dataclass(frozen=True, slots=True)
class Template:
    """A frozen guest in the store."""

    path: Path
    parts: qemu.Machine
    root: BuildRoot
    manifest: Manifest

    @classmethod
    def ensure(
        cls,
        artefacts: Artefacts,
        store: Store,
        *,
        extra_cmdline: Sequence[str] = (),
        progress: Progress,
    ) -> Self:
        """The template for ``artefacts`` booted with ``extra_cmdline``, made now if there is none.

        Raises what :func:`harness.boot.machine.await_guest` raises; the evidence of a failed boot is kept
        below the evidence directory.
        """
        chosen = accel.choose(artefacts, store, progress)
        kernel, userspace = artefacts.kernel, artefacts.userspace
        parts = qemu.Machine(
            artefacts.target, chosen, kernel.image, userspace.initramfs, tuple(extra_cmdline)
        )
        key = digest(
            "template", _FORMAT, kernel.key, userspace.key, artefacts.root.key, qemu.recipe(parts),
            accel.host_key() if chosen == "kvm" else "",
        )  # fmt: skip
        path = store.ready("template", key)
        if path is None:
            words = " ".join(extra_cmdline)
            name = artefacts.target.name + (f" ({words})" if words else "")
            with progress.step(f"template {name}: booting"):
                path = store.make("template", key, lambda there: _make(parts, artefacts.root, there))
            store.forget("template", keep=_KEEP)
        store.touch("template", key)
        return cls(path, parts, artefacts.root, Manifest.load(path / _MANIFEST))

    @property
    def boot_seconds(self) -> float:
        return self.manifest.boot_seconds

    @property
    def slowdown(self) -> float:
        return self.manifest.slowdown

    def clone(self, evidence: Path, payload: Path | None, deadline: Deadline) -> Machine:
        """A private copy, running, its random number generator seeded; ``payload`` is its /dev/payload.

        Raises :class:`InfrastructureError` when QEMU does not take the template.
        """
        evidence.mkdir(parents=True, exist_ok=True)
        frozen = qemu.Memory(self.path / _RAM, frozen=True)
        machine = Machine(
            _with_memory(self.parts, frozen),
            self.root,
            evidence,
            payload=payload,
            slowdown=self.slowdown,
            first=(
                ("migrate-set-capabilities", _CAPABILITIES),
                ("migrate-incoming", _to_file(self.path / _STATE)),
            ),
            readable=(self.path,),
        )
        # Clones are alike to the last bit, their random numbers included, until they are told a seed. The
        # guest continues by itself when its state is loaded; what it is told waits in the line for it.
        _seed(machine)
        try:
            await_guest(machine, deadline, lambda limit: _seeded(machine, limit))
        except InfrastructureError:
            if _NOT_LOADED in machine.stderr():
                raise InfrastructureError(
                    f"QEMU does not take the template {self.path}: {machine.exit_reason}",
                    "harness clean removes it, and the next run makes a new one",
                    evidence,
                ) from None
            raise
        shutil.copyfile(self.path / BOOT_LOG, evidence / BOOT_LOG)
        machine.note(template=self.path.name, seconds=round(time.monotonic() - machine.started, 4))
        return machine


def _with_memory(parts: qemu.Machine, memory: qemu.Memory) -> qemu.Machine:
    return qemu.Machine(parts.target, parts.accel, parts.kernel, parts.initramfs, parts.cmdline, memory)


def _to_file(path: Path) -> dict[str, object]:
    """Arguments of migrate and migrate-incoming for a file, whatever its name."""
    place = {"transport": "file", "filename": os.fspath(path), "offset": 0}
    return {"channels": [{"channel-type": "main", "addr": place}]}


def _seed(machine: Machine) -> None:
    """Send the random number generator a seed; guests/sample.c says when it was taken."""
    machine.seed = secrets.token_hex(_SEED_BYTES)
    machine.results.send(b"@seed " + machine.seed.encode())


def _seeded(machine: Machine, deadline: Deadline) -> None:
    """Both of the guest's processes that serve the harness are awake; they wake up at the same time."""
    machine.shell.run(":", deadline=deadline)
    machine.results.wait_for(_SEEDED, deadline)


def _make(parts: qemu.Machine, root: BuildRoot, directory: Path) -> None:
    """Boot, measure and freeze a guest into ``directory``."""
    live = directory / f"{_RAM}.live"
    machine = Machine(
        _with_memory(parts, qemu.Memory(live, frozen=False)),
        root,
        directory,
        writable=(directory,),
        console=BOOT_LOG,
    )
    try:
        with machine:
            await_guest(machine, Deadline.after(BOOT_SECONDS, "the guest boots"), shell_answers(machine))
            boot_seconds = time.monotonic() - machine.started
            slowdown = _slowdown(machine, root)
            _seed(machine)  # ready in the template, or each clone's generator would announce that it is
            _freeze(machine, directory / _STATE)
    except BaseException as error:
        _keep_evidence(directory, parts.target.name, error)
        raise
    _make_sparse(live, directory / _RAM)
    (directory / "qemu.log").unlink(missing_ok=True)
    greeting = machine.qmp.version
    manifest = Manifest(
        parts.target.name, parts.accel, greeting, " ".join(parts.full_cmdline), boot_seconds, slowdown
    )
    (directory / _MANIFEST).write_text(json.dumps(asdict(manifest), indent=1) + "\n", encoding="utf-8")


def _freeze(machine: Machine, state: Path) -> None:
    """Write the machine's state beside its memory; the guest does not run any more after that.

    It is not stopped before: a guest that was stopped when it was saved stays stopped when it is loaded.
    """
    deadline = Deadline.after(FREEZE_SECONDS, "the guest is frozen")
    _seeded(machine, deadline)
    # Work that was put off (RCU, vmstat, writeback) would be done in every clone, before its first command.
    time.sleep(QUIET_SECONDS)
    machine.qmp.execute("migrate-set-capabilities", _CAPABILITIES)
    machine.qmp.execute("migrate", _to_file(state))
    ended = machine.qmp.wait_for("MIGRATION", "status", ("completed", "failed"), deadline)
    if ended == "failed":
        raise InfrastructureError(
            f"QEMU could not freeze the guest: {machine.qmp.execute('query-migrate').get('error-desc', '')}",
            evidence=machine.evidence,
        )


def _slowdown(machine: Machine, root: BuildRoot) -> float:
    """How much slower the guest is than this host, by the same loop of the same shell; at least 1."""

    def best(run: Callable[[], object]) -> float:
        times = []
        for _ in range(3):
            begin = time.monotonic()
            run()
            times.append(time.monotonic() - begin)
        return min(times)

    def on_host(script: str) -> None:
        subprocess.run(root.command(["busybox", "sh", "-c", script]), check=True, timeout=60)

    try:
        alone = best(lambda: on_host(_LOOP)) - best(lambda: on_host(":"))
    except (OSError, subprocess.SubprocessError) as error:
        raise InfrastructureError(f"busybox does not run in the build root: {error}") from None
    limit = Deadline.after(BOOT_SECONDS, "the guest's speed is measured")
    inside = best(lambda: machine.shell.run(_LOOP, deadline=limit))
    return round(min(100.0, max(1.0, inside / max(alone, 0.001))), 1)


def _make_sparse(live: Path, ram: Path) -> None:
    """Keep the pages that are not zero; a fresh file also is not mapped by the QEMU that is ending."""
    subprocess.run(["cp", "--sparse=always", os.fspath(live), os.fspath(ram)], check=True)
    live.unlink()
    ram.chmod(0o444)


def _keep_evidence(directory: Path, target: str, error: BaseException) -> None:
    """Save what a failed boot left from the directory that is going to be removed."""
    kept = settings.evidence_dir() / f"boot-{target}"
    shutil.rmtree(kept, ignore_errors=True)
    kept.mkdir(parents=True)
    for name in (BOOT_LOG, "qemu.log", "hang.txt"):
        if (directory / name).exists():
            shutil.copyfile(directory / name, kept / name)
    if hasattr(error, "evidence"):
        error.evidence = kept
