# SPDX-License-Identifier: GPL-2.0-only
"""QEMU's command line: written out once, and what a template and its clones have in common."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from harness.boot.qemu import Fds, Machine, Memory, argv, recipe
from harness.targets import Arch, Profile, Target, Tree

ARCH = Arch(
    name="x86_64", kernel_arch="x86_64", triple="x86_64-linux-gnu", debian="amd64", elf_machine="EM_X86_64",
    image="bzImage", qemu="qemu-system-x86_64", machine="q35", cpu="qemu64", console="ttyS0",
    cmdline=("console=ttyS0",), memory_mib=256, cpus=2, page_size=4096, virtio="pci",
    kvm_host="x86_64",
)  # fmt: skip
TARGET = Target(Tree("7.3", "p", "1", "s", "0", "7.3"), ARCH, Profile("plain", (), ("x86_64",)))
FDS = Fds(qmp=10, shell=11, terminal=12, results=13, console=14, sysrq=15, swap=16, payload=17)
COLD = Machine(TARGET, "tcg", Path("/k/bzImage"), Path("/k/initramfs"), ("quiet",))
CLONE = replace(COLD, memory=Memory(Path("/t/ram"), frozen=True))

GOLDEN = """\
qemu-system-x86_64
-nodefaults
-no-user-config
-no-reboot
-display none
-accel tcg
-cpu qemu64
-smp 2
-m 256M
-object memory-backend-file,id=ram,size=256M,mem-path=/t/ram,share=off,readonly=on,rom=off
-machine q35,memory-backend=ram
-kernel /k/bzImage
-initrd /k/initramfs
-append console=ttyS0 panic=-1 rootfstype=ramfs console_msg_format=syslog quiet
-add-fd fd=14,set=1
-add-fd fd=15,set=2
-add-fd fd=16,set=3
-add-fd fd=17,set=4
-chardev file,id=console,path=/dev/fdset/1,append=on,input-path=/dev/fdset/2
-serial chardev:console
-device virtio-serial-pci
-chardev socket,id=terminal,fd=12
-device virtconsole,chardev=terminal,nr=0
-chardev socket,id=shell,fd=11
-device virtserialport,chardev=shell,nr=1,name=harness.shell
-chardev socket,id=results,fd=13
-device virtserialport,chardev=results,nr=2,name=harness.results
-blockdev driver=file,node-name=swap,filename=/dev/fdset/3,locking=off,cache.no-flush=on
-device virtio-blk-pci,drive=swap,serial=swap
-blockdev driver=file,node-name=payload,filename=/dev/fdset/4,locking=off,cache.no-flush=on,read-only=on
-device virtio-blk-pci,drive=payload,serial=payload
-chardev socket,id=qmp,fd=10
-mon chardev=qmp,mode=control
-incoming defer
"""


def lines(words: list[str]) -> str:
    """A command line with an option and its value a line."""
    text = ""
    for word in words:
        text += ("\n" if word.startswith("-") and text else " " if text else "") + word
    return text + "\n"


def test_a_clone_is_started_like_this() -> None:
    assert lines(argv(CLONE, FDS)) == GOLDEN.format(cmdline=" ".join(CLONE.full_cmdline))


def test_the_kernel_is_told_its_console_and_its_end() -> None:
    words = CLONE.full_cmdline
    assert (words[0], words[-1]) == ("console=ttyS0", "quiet"), "a scenario's words come last, and win"
    assert "panic=-1" in words


def test_a_parameter_takes_the_place_of_its_namesake() -> None:
    words = replace(CLONE, cmdline=("panic=5", "console=hvc1")).full_cmdline
    assert words[-2:] == ("panic=5", "console=hvc1")
    assert [word for word in words if word.startswith(("panic=", "console="))] == ["panic=5", "console=hvc1"]


def test_virtio_is_on_the_bus_of_the_architecture() -> None:
    mmio = replace(COLD, target=replace(TARGET, arch=replace(ARCH, virtio="device")))
    kinds = [device.partition(",")[0] for device in devices(mmio) if device.startswith("virtio-")]
    assert kinds == ["virtio-serial-device", "virtio-blk-device", "virtio-blk-device"]


def devices(machine: Machine) -> list[str]:
    words = argv(machine, FDS)
    return [
        words[at + 1] for at, word in enumerate(words) if word in ("-device", "-machine", "-serial", "-smp")
    ]


def test_a_template_and_its_clone_have_the_same_devices_in_the_same_order() -> None:
    live = replace(COLD, memory=Memory(Path("/t/live"), frozen=False))
    assert devices(live) == devices(CLONE) == devices(COLD)
    assert "share=on" in " ".join(argv(live, FDS))
    assert "-incoming" not in argv(live, FDS)


@pytest.mark.parametrize(
    "other",
    [
        replace(COLD, accel="kvm"),
        replace(COLD, cmdline=("quiet", "maxcpus=1")),
        replace(COLD, target=replace(TARGET, arch=replace(ARCH, cpus=4))),
        replace(COLD, target=replace(TARGET, profile=Profile("big", (), (), memory_factor=2))),
    ],
)
def test_a_template_of_another_machine_has_another_recipe(other: Machine) -> None:
    assert recipe(other) != recipe(COLD)


def test_the_recipe_knows_no_paths() -> None:
    moved = replace(COLD, kernel=Path("/elsewhere/bzImage"), initramfs=Path("/elsewhere/initramfs"))
    assert recipe(moved) == recipe(COLD)


def test_under_kvm_the_processor_is_the_hosts() -> None:
    words = argv(replace(COLD, accel="kvm"), FDS)
    assert words[words.index("-cpu") + 1] == "host"


def test_a_comma_in_a_path_is_not_the_end_of_it() -> None:
    words = argv(replace(COLD, memory=Memory(Path("/a,b/ram"), frozen=True)), FDS)
    assert any("mem-path=/a,,b/ram,share=off" in word for word in words)


def test_every_descriptor_is_inherited() -> None:
    assert sorted(FDS.all()) == list(range(10, 18))
