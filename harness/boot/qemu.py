# SPDX-License-Identifier: GPL-2.0-only
"""QEMU's command line, from what a machine is made of. Pure: opens nothing, starts nothing.

A template and its clones must have the same devices in the same order, or the frozen state does not
fit; so there is one function for all of them. Everything that QEMU reads or writes besides the
kernel, the initramfs and the memory file comes to it as an open file descriptor, so it needs no
writable path of the host.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Final

from harness.boot.results import PORT_NAME
from harness.targets import Target

SHELL_NAME: Final = "harness.shell"
"""What the guest finds its end of the shell's line by (guests/init).

A virtio port and no terminal: hvc passes 16 bytes at a time to the host and spins until they are
taken, which on a loaded host is 3 ms a line, and a terminal cuts long lines.
"""
TERMINAL_DEVICE: Final = "hvc0"
"""The guest's end of the line for a person, who does want a terminal."""
SWAP_BYTES: Final = 512 << 20


@dataclass(frozen=True, slots=True)
class Fds:
    """Open file descriptors that QEMU inherits.

    ``qmp``, ``shell``, ``terminal`` and ``results`` are sockets; ``console`` a file for appending,
    ``sysrq`` the reading end of a pipe whose bytes the console receives; ``swap`` and ``payload``
    are disk images.
    """

    qmp: int
    shell: int
    terminal: int
    results: int
    console: int
    sysrq: int
    swap: int
    payload: int

    def all(self) -> tuple[int, ...]:
        return tuple(int(getattr(self, field.name)) for field in fields(self))


@dataclass(frozen=True, slots=True)
class Memory:
    """Where the guest's memory is: in a shared file to be frozen, or a private copy of a frozen one."""

    file: Path
    frozen: bool


@dataclass(frozen=True, slots=True)
class Machine:
    """What a machine is made of. ``accel`` is ``tcg`` or ``kvm``."""

    target: Target
    accel: str
    kernel: Path
    initramfs: Path
    cmdline: tuple[str, ...] = ()
    """Added to the target's, and in place of those of the same name there."""
    memory: Memory | None = None
    """None: ordinary memory."""

    @property
    def full_cmdline(self) -> tuple[str, ...]:
        """The kernel's command line: a panic ends the machine at once.

        The root is a ramfs because the kernel would swap the pages of a tmpfs, programs included. The
        console shows each line's facility, so that what a process writes to /dev/kmsg is not taken for
        the kernel's.
        """
        own = ("panic=-1", "rootfstype=ramfs", "console_msg_format=syslog")
        named = {word.partition("=")[0] for word in self.cmdline}
        # Not all parameters can be given twice: kmemleak that was once off stays off.
        kept = [word for word in (*self.target.cmdline, *own) if word.partition("=")[0] not in named]
        return (*kept, *self.cmdline)

    @property
    def readable(self) -> tuple[Path, ...]:
        """The files that QEMU opens by their path."""
        return self.kernel, self.initramfs


def argv(machine: Machine, fds: Fds) -> list[str]:
    """The command line, without what enters the build root."""
    arch = machine.target.arch
    size = machine.target.memory_mib
    return [
        arch.qemu,
        *("-nodefaults", "-no-user-config", "-no-reboot"),
        *("-display", "none"),
        *("-accel", machine.accel),
        *("-cpu", "host" if machine.accel == "kvm" else arch.cpu),
        *("-smp", str(arch.cpus)),
        *("-m", f"{size}M"),
        *("-object", _memory(machine.memory, size)),
        *("-machine", f"{arch.machine},memory-backend=ram"),
        *(word for setting in arch.globals for word in ("-global", setting)),
        *("-kernel", str(machine.kernel)),
        *("-initrd", str(machine.initramfs)),
        *("-append", " ".join(machine.full_cmdline)),
        *_files(fds),
        *("-chardev", "file,id=console,path=/dev/fdset/1,append=on,input-path=/dev/fdset/2"),
        *("-serial", "chardev:console"),
        *("-device", f"virtio-serial-{arch.virtio}"),
        *("-chardev", f"socket,id=terminal,fd={fds.terminal}"),
        *("-device", "virtconsole,chardev=terminal,nr=0"),
        *("-chardev", f"socket,id=shell,fd={fds.shell}"),
        *("-device", f"virtserialport,chardev=shell,nr=1,name={SHELL_NAME}"),
        *("-chardev", f"socket,id=results,fd={fds.results}"),
        *("-device", f"virtserialport,chardev=results,nr=2,name={PORT_NAME}"),
        *_disk("swap", 3, arch.virtio, read_only=False),
        *_disk("payload", 4, arch.virtio, read_only=True),
        *("-chardev", f"socket,id=qmp,fd={fds.qmp}"),
        *("-mon", "chardev=qmp,mode=control"),
        *(("-incoming", "defer") if machine.memory is not None and machine.memory.frozen else ()),
    ]


def recipe(machine: Machine) -> str:
    """What decides whether a frozen state fits: the devices and the command line, without any path."""
    plain = Machine(machine.target, machine.accel, Path("kernel"), Path("initramfs"), machine.cmdline)
    return "\n".join(argv(plain, Fds(*([0] * 8))))


def _memory(memory: Memory | None, size: int) -> str:
    if memory is None:
        return f"memory-backend-ram,id=ram,size={size}M"
    how = "share=off,readonly=on,rom=off" if memory.frozen else "share=on"
    return f"memory-backend-file,id=ram,size={size}M,mem-path={escape(memory.file)},{how}"


def _files(fds: Fds) -> Sequence[str]:
    """Descriptors for what QEMU opens by name: /dev/fdset/1 to 4."""
    words = []
    for number, fd in enumerate((fds.console, fds.sysrq, fds.swap, fds.payload), start=1):
        words += ["-add-fd", f"fd={fd},set={number}"]
    return words


def _disk(name: str, fdset: int, bus: str, *, read_only: bool) -> Sequence[str]:
    """A raw virtio disk. Nothing else opens its file, so it is not locked; nothing outlives the machine,
    so nothing is flushed."""
    backend = f"driver=file,node-name={name},filename=/dev/fdset/{fdset},locking=off,cache.no-flush=on"
    if read_only:
        backend += ",read-only=on"
    return ["-blockdev", backend, "-device", f"virtio-blk-{bus},drive={name},serial={name}"]


def escape(path: Path) -> str:
    """A path as part of an option: QEMU wants commas doubled."""
    return str(path).replace(",", ",,")
