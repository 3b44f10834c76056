# SPDX-License-Identifier: GPL-2.0-only
"""What can be tested: architectures, profiles, trees, and the targets made of them.

All differences between architectures are data in :data:`ARCHES`; no other module asks which
architecture it is working for. A target is named ``TREE-ARCH`` for the plain profile and
``TREE-ARCH-PROFILE`` otherwise: ``7.3-x86_64``.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cache
from typing import Final

from harness.errors import UserError
from harness.settings import PROJECT


@dataclass(frozen=True, slots=True)
class Arch:
    """The facts of one architecture.

    ``triple`` is clang's target for user space; ``qemu`` the emulator's binary in the build root;
    ``memory_mib`` what a plain guest of it gets; ``cmdline`` what its kernel must be told.
    """

    name: str
    kernel_arch: str
    """``ARCH=`` for the kernel's make."""
    triple: str
    debian: str
    """Debian's name of the architecture, for its static busybox."""
    elf_machine: str
    """pyelftools' name for ``e_machine``."""
    image: str
    """The bootable image, relative to the kernel's build directory."""
    qemu: str
    machine: str
    cpu: str
    console: str
    """The kernel's console device: the first serial line."""
    cmdline: tuple[str, ...]
    memory_mib: int
    cpus: int
    page_size: int
    virtio: str
    """The bus of virtio devices, as the end of their names in QEMU: ``pci`` or ``device`` (MMIO)."""
    kvm_host: str
    """``uname -m`` of a host on which KVM could run it."""
    globals: tuple[str, ...] = ()
    """Properties of devices that the machine brings along: ``DRIVER.PROPERTY=VALUE``."""
    cflags: tuple[str, ...] = ()
    """clang's flags for the guest's programs, besides the triple."""


class Detector(StrEnum):
    """What finds bugs by itself in some kernels only."""

    KASAN = "kasan"
    LOCKDEP = "lockdep"
    ATOMIC_SLEEP = "atomic_sleep"
    KMEMLEAK = "kmemleak"
    HIGHMEM = "highmem"
    """Pages that have to be mapped, and a kernel that checks how."""


@dataclass(frozen=True, slots=True)
class Profile:
    """A set of configuration fragments with one purpose, and what its kernels need to boot."""

    name: str
    fragments: tuple[str, ...]
    """Names of files in ``kernel-config/fragments``, without ``.config``; ``{arch}`` is filled in."""
    arches: tuple[str, ...]
    """The architectures it is offered for."""
    cmdline: tuple[str, ...] = ()
    memory_factor: int = 1
    detectors: frozenset[Detector] = frozenset()
    """What its kernels find bugs with, besides what every kernel has."""
    wakes: Mapping[Detector, str] = field(default_factory=dict, hash=False)
    """Those that sleep unless somebody needs them, and the kernel parameter that wakes each up."""


@dataclass(frozen=True, slots=True)
class Tree:
    """A pinned kernel source: a Debian source package and the series of patches it gets."""

    name: str
    package: str
    version: str
    suite: str
    sha256: str
    """Of the .deb, as the archive's index signs it."""
    patches: str
    """Folder below ``kernel-config/patches``."""


@dataclass(frozen=True, slots=True)
class Target:
    """A tree x an architecture x a profile."""

    tree: Tree
    arch: Arch
    profile: Profile

    @property
    def name(self) -> str:
        base = f"{self.tree.name}-{self.arch.name}"
        return base if self.profile.name == "plain" else f"{base}-{self.profile.name}"

    @property
    def memory_mib(self) -> int:
        return self.arch.memory_mib * self.profile.memory_factor

    @property
    def fragments(self) -> tuple[str, ...]:
        return tuple(name.format(arch=self.arch.name) for name in self.profile.fragments)

    @property
    def cmdline(self) -> tuple[str, ...]:
        return (*self.arch.cmdline, *self.profile.cmdline)


DEFAULT_TARGET: Final = "7.3-x86_64"
ALL: Final = "all"

ARCHES: Final[dict[str, Arch]] = {
    arch.name: arch
    for arch in (
        Arch(
            name="x86_64",
            kernel_arch="x86_64",
            triple="x86_64-linux-gnu",
            debian="amd64",
            elf_machine="EM_X86_64",
            image="arch/x86/boot/bzImage",
            qemu="qemu-system-x86_64",
            # What nobody uses would be found all the same, and most of a boot is ACPI's interpreter.
            machine="q35,sata=off,smbus=off",
            globals=("ICH9-LPC.acpi-pci-hotplug-with-bridge-support=off",),
            cpu="qemu64",
            console="ttyS0",
            # The clocksource watchdog distrusts an emulated TSC, loudly and for nothing.
            cmdline=("console=ttyS0,115200", "tsc=nowatchdog"),
            memory_mib=192,
            cpus=2,
            page_size=4096,
            virtio="pci",
            kvm_host="x86_64",
        ),
        Arch(
            name="arm64",
            kernel_arch="arm64",
            triple="aarch64-linux-gnu",
            debian="arm64",
            elf_machine="EM_AARCH64",
            image="arch/arm64/boot/Image",
            qemu="qemu-system-aarch64",
            machine="virt",
            cpu="cortex-a57",
            console="ttyAMA0",
            cmdline=("console=ttyAMA0",),
            memory_mib=192,
            cpus=2,
            page_size=4096,
            virtio="device",
            kvm_host="aarch64",
        ),
        Arch(
            name="arm",
            kernel_arch="arm",
            triple="arm-linux-gnueabihf",
            debian="armhf",
            elf_machine="EM_ARM",
            image="arch/arm/boot/zImage",
            qemu="qemu-system-arm",
            # A kernel without LPAE reaches nothing above 4 GiB, where the devices would be.
            machine="virt,highmem=off",
            cpu="cortex-a15",
            console="ttyAMA0",
            cmdline=("console=ttyAMA0",),
            memory_mib=192,
            cpus=2,
            page_size=4096,
            virtio="device",
            kvm_host="armv7l",
            # It divides in hardware; without the flag clang calls a library that nolibc does not have.
            cflags=("-mcpu=cortex-a15",),
        ),
    )
}

PROFILES: Final[dict[str, Profile]] = {
    profile.name: profile
    for profile in (
        Profile(name="plain", fragments=("base", "{arch}", "plain"), arches=("x86_64", "arm64")),
        Profile(
            name="highmem",
            fragments=("base", "{arch}", "plain", "highmem"),
            arches=("arm",),
            # Room for vmalloc is taken from low memory: 108 MiB of it are left, the rest is high.
            cmdline=("vmalloc=900M",),
            detectors=frozenset({Detector.HIGHMEM}),
        ),
        Profile(
            name="kasan",
            fragments=("base", "{arch}", "kasan"),
            arches=("x86_64",),
            # kmemleak says nothing before it is asked, but notes down each allocation: a third of a boot.
            cmdline=("kasan_multi_shot", "page_owner=on", "kmemleak=off"),
            memory_factor=2,
            detectors=frozenset({Detector.KASAN, Detector.LOCKDEP, Detector.ATOMIC_SLEEP, Detector.KMEMLEAK}),
            wakes={Detector.KMEMLEAK: "kmemleak=on"},
        ),
    )
}


@cache
def trees() -> dict[str, Tree]:
    """The pinned trees of ``kernel-config/trees.toml``, by name."""
    text = (PROJECT / "kernel-config" / "trees.toml").read_text(encoding="utf-8")
    return {name: Tree(name=name, **facts) for name, facts in tomllib.loads(text).items()}


@cache
def targets() -> dict[str, Target]:
    """Every target there is, by name, in the order in which they are listed."""
    every = (
        Target(tree, arch, profile)
        for tree in trees().values()
        for profile in PROFILES.values()
        for arch in ARCHES.values()
        if arch.name in profile.arches
    )
    return {target.name: target for target in every}


def named(names: Iterable[str]) -> list[Target]:
    """The targets of these names, each once; ``all`` is every target, no name the default one.

    Raises :class:`UserError` when there is none of a name.
    """
    chosen: dict[str, Target] = {}
    for name in tuple(names) or (DEFAULT_TARGET,):
        chosen |= targets() if name == ALL else {name: target(name)}
    return list(chosen.values())


def target(name: str) -> Target:
    """The target called ``name``. Raises :class:`UserError` when there is none."""
    try:
        return targets()[name]
    except KeyError:
        known = ", ".join(targets())
        raise UserError(f"there is no target {name!r}", f"the targets are: {known}; or {ALL}") from None
