# SPDX-License-Identifier: GPL-2.0-only
"""How fast the judge reads: figures for ``harness bench``, on logs made here.

Both logs are made of pieces that vary from one to the next, as those of a machine do: times, processes,
addresses and functions differ, so that nothing is fast only because it was read before.
"""

from __future__ import annotations

import time
from typing import Final

from harness.judge.dmesg import ConsoleParser

CHUNK: Final = 64 * 1024
"""Bytes fed at a time: what a console brings between two looks."""
SIZE: Final = 8_000_000
"""Bytes of each log."""

_BOOT: Final = (
    "pci 0000:00:{0:02x}.0: [1af4:10{0:02x}] type 00 class 0x0{0:02x}000 conventional PCI endpoint",
    "ACPI: PCI: Interrupt link LNK{0} configured for IRQ {0}",
    "clocksource: tsc: mask: 0xffffffffffffffff max_cycles: 0x{1:x}, max_idle_ns: {1} ns",
    "NET: Registered PF_INET{0} protocol family",
    "virtio_blk virtio{0}: [vd{0}] {1} 512-byte logical blocks (33.6 MB/32.0 MiB)",
    "systemd[1]: Started unit-{1}.service - A unit that does something or other.",
    'audit: type=1400 audit({1}.123:{0}): apparmor="STATUS" operation="profile_load" pid={0}',
    "EXT4-fs (vda{0}): mounted filesystem with ordered data mode. Quota mode: none.",
    "usb {0}-1: new high-speed USB device number {0} using xhci_hcd",
)
_REPORT: Final = (
    "------------[ cut here ]------------",
    "WARNING: CPU: {0} PID: {1} at drivers/demo/part{0}.c:{1} demo_{0}_open+0x1d/0x40 [demo]",
    "Modules linked in: demo(OE) virtio_blk ext4 mbcache jbd2",
    "CPU: {0} UID: 0 PID: {1} Comm: tool{0} Tainted: G        W  OE      6.12.{0} #{1} PREEMPT",
    "Hardware name: QEMU Standard PC (i440FX + PIIX, 1996), BIOS 1.16.3 04/01/2014",
    "RIP: 0010:demo_{0}_open+0x1d/0x40 [demo]",
    "Code: 90 90 90 90 90 90 90 90 90 90 90 90 90 90 90 90 f3 0f 1e fa 0f 1f 44 00 00 <0f> 0b c3",
    "RSP: 0018:ffffc9000{1:07x} EFLAGS: 00010246",
    "RAX: 000000000000{1:04x} RBX: ffff88800{1:07x} RCX: 0000000000000000",
    "RDX: 000000000000{1:04x} RSI: ffff88800{1:07x} RDI: 0000000000000000",
    "Call Trace:",
    " <TASK>",
    " ? __warn+0x7d/0x140",
    " chrdev_{0}_open+0xbf/0x1b0",
    " do_dentry_open+0x1{0:02x}/0x4a0",
    " vfs_open+0x2d/0xe0",
    " path_openat+0x7{0:02x}/0x1190",
    " do_filp_open+0xb{0:x}/0x160",
    " do_sys_openat2+0x9f/0xe0",
    " __x64_sys_openat+0x54/0xa0",
    " do_syscall_64+0x72/0x1d0",
    " entry_SYSCALL_64_after_hwframe+0x4b/0x53",
    " </TASK>",
    "---[ end trace 0000000000000000 ]---",
)


def clean_log(size: int) -> bytes:
    """About ``size`` bytes of a console on which nothing is wrong."""
    return _log(_BOOT, size)


def bad_log(size: int) -> bytes:
    """About ``size`` bytes of one report after the other, each of another process and place."""
    return _log(_REPORT, size)


def _log(pieces: tuple[str, ...], size: int) -> bytes:
    lines: list[str] = []
    length = turn = 0
    while length < size:
        turn += 1
        for piece in pieces:
            text = piece.format(turn % 16, turn)
            line = f"[{turn // 100:5d}.{turn * 7919 % 1_000_000:06d}][{'T' + str(turn % 977):>6}] {text}"
            lines.append(line)
            length += len(line) + 1
    return ("\n".join(lines) + "\n").encode()


def bytes_per_second(log: bytes) -> float:
    """How fast ``log`` is read as it would be from a guest, on one processor, in bytes a second."""
    parser = ConsoleParser()
    started = time.process_time()
    for place in range(0, len(log), CHUNK):
        parser.feed(log[place : place + CHUNK])
    parser.finish()
    return len(log) / max(time.process_time() - started, 1e-9)


def measure(size: int = SIZE) -> dict[str, float]:
    """Megabytes a second on a clean log and on one full of reports."""
    return {
        "judge, clean log": bytes_per_second(clean_log(size)) / 1e6,
        "judge, log full of reports": bytes_per_second(bad_log(size)) / 1e6,
    }
