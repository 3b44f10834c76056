# SPDX-License-Identifier: GPL-2.0-only
"""Staging a module's sources, and what its failures say."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from harness import targets
from harness.build import modules
from harness.build.command import CommandFailed
from harness.build.elfcheck import Export, check_module, parse_modinfo, read_symvers, refused_symbols
from harness.build.kernel import Kernel
from harness.build.tree import Source
from harness.errors import InfrastructureError, UserError
from harness.settings import PROJECT


@pytest.fixture
def module(tmp_path: Path) -> Path:
    folder = tmp_path / "rust_x"
    folder.mkdir()
    (folder / "Kbuild").write_text("obj-m := rust_x.o\n")
    (folder / "main.rs").write_text("one\n")
    for name in (
        "main.o",
        "rust_x.ko",
        "rust_x.mod.c",
        ".main.o.cmd",
        "modules.order",
        "Module.symvers",
        "a.rs~",
    ):
        (folder / name).write_text("product")
    return folder


@pytest.fixture
def kernel(tmp_path: Path) -> Kernel:
    symvers = tmp_path / "Module.symvers"
    symvers.write_text("0x0\tprintk\tvmlinux\tEXPORT_SYMBOL\t\n0x0\tclk\tvmlinux\tEXPORT_SYMBOL_GPL\tNS\n")
    linux = tmp_path / "linux"
    return Kernel(
        target=targets.target("7.3-x86_64"),
        build_dir=tmp_path,
        source=Source(linux, "7.3", "key"),
        image=tmp_path / "image",
        vmlinux=tmp_path / "vmlinux",
        release="7.3.4-harness",
        version="#1",
        key="key",
        config={},
        symvers=symvers,
        vermagic="7.3.4-harness SMP ",
    )


def test_only_sources_count(module: Path) -> None:
    assert [str(name) for name in modules.source_files(module)] == ["Kbuild", "main.rs"]


def test_staging_keeps_times_and_products(module: Path, tmp_path: Path) -> None:
    stage = tmp_path / "stage"
    os.utime(module / "main.rs", (1000, 1000))
    modules._stage(module, stage)
    assert (stage / "main.rs").stat().st_mtime == 1000
    (stage / "main.o").write_text("made here")
    modules._stage(module, stage)
    assert (stage / "main.rs").stat().st_mtime == 1000
    assert (stage / "main.o").exists()


def test_an_older_version_put_back_is_compiled_again(module: Path, tmp_path: Path) -> None:
    stage = tmp_path / "stage"
    modules._stage(module, stage)
    (module / "main.rs").write_text("an older version\n")
    os.utime(module / "main.rs", (1000, 1000))
    before = time.time()
    modules._stage(module, stage)
    assert (stage / "main.rs").read_text() == "an older version\n"
    assert (stage / "main.rs").stat().st_mtime >= before - 0.1


def test_a_source_that_went_takes_its_object_along(module: Path, tmp_path: Path) -> None:
    stage = tmp_path / "stage"
    modules._stage(module, stage)
    (stage / "main.o").write_text("made here")
    (module / "main.rs").unlink()
    modules._stage(module, stage)
    assert sorted(path.name for path in stage.iterdir()) == [".staged", "Kbuild"]


def test_directories_that_are_no_modules(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="there is no module directory"):
        modules.check_directory(tmp_path / "gone")
    with pytest.raises(UserError, match="neither a Kbuild nor a Makefile"):
        modules.check_directory(tmp_path)
    odd = tmp_path / "two words"
    odd.mkdir()
    (odd / "Kbuild").write_text("")
    with pytest.raises(UserError, match="two words"):
        modules.check_directory(odd)


@pytest.mark.parametrize(
    ("line", "place"),
    [
        ("error[E0308]: mismatched\n  --> /build/modules/rust_x/main.rs:4:1", "rust_x/main.rs:4"),
        ("error[E0308]: mismatched\n  --> main.rs:4:1", "rust_x/main.rs:4"),
        ("shim.c:7:2: error: nope", "rust_x/shim.c:7"),
        ("/build/modules/rust_x/../common/ops.c:7:2: error: nope", "common/ops.c:7"),
        ("../common/ops.c:7:2: error: nope", "common/ops.c:7"),
    ],
)
def test_errors_name_the_users_file(module: Path, kernel: Kernel, line: str, place: str) -> None:
    (module.parent / "common").mkdir(exist_ok=True)
    (module.parent / "common" / "ops.h").touch()
    error = modules.explain(CommandFailed("make", 2, line + "\n"), module, kernel)
    assert isinstance(error, UserError)
    assert f"{module.parent}/{place}: " in error.what


def test_a_module_that_left_its_neighbour_behind_gets_ours(module: Path) -> None:
    assert modules.common_of(module) == PROJECT / "modules" / "common"
    assert (modules.common_of(module) / "ops.c").is_file()


def test_a_compiler_that_was_killed_is_not_the_users_fault(module: Path, kernel: Kernel) -> None:
    error = modules.explain(CommandFailed("make", -9, "main.rs:1: error: x"), module, kernel)
    assert isinstance(error, InfrastructureError)


def test_the_module_that_came_out(module: Path) -> None:
    assert modules._the_module(module, module).name == "rust_x.ko"
    (module / "rust_x.ko").rename(module / "a.ko")
    assert modules._the_module(module, module).name == "a.ko"
    (module / "b.ko").write_text("")
    with pytest.raises(UserError, match="several"):
        modules._the_module(module, module)


def test_modinfo() -> None:
    facts = parse_modinfo(b"license=GPL\0vermagic=7.3 SMP \0import_ns=A\0import_ns=B\0junk\0")
    assert facts == {"license": ["GPL"], "vermagic": ["7.3 SMP "], "import_ns": ["A", "B"]}


@pytest.mark.parametrize(
    ("undefined", "licence", "imported", "says"),
    [
        (["printk"], "Proprietary", [], None),
        (["printk", "gone"], "GPL", [], "gone, which this kernel does not export"),
        (["clk"], "MIT", ["NS"], "licence is 'MIT'"),
        (["clk"], "", ["NS"], "licence is ''"),
        (["clk"], "Dual MIT/GPL", [], r"clk \(NS\) without importing"),
        (["clk"], "GPL", ["NS"], None),
    ],
)
def test_symbols(
    kernel: Kernel, undefined: list[str], licence: str, imported: list[str], says: str | None
) -> None:
    exports = read_symvers(kernel.symvers, 0)
    assert exports["clk"] == Export(True, "NS")
    reason = refused_symbols(undefined, exports, licence, frozenset(imported))
    if says is None:
        assert reason is None
    else:
        assert reason is not None
        with pytest.raises(UserError, match=says):
            raise UserError(reason)


def test_files_that_are_no_modules(tmp_path: Path, kernel: Kernel) -> None:
    text = tmp_path / "x.ko"
    text.write_text("text, and not an ELF file at all")
    with pytest.raises(UserError, match="not a kernel module"):
        check_module(text, kernel)
    with pytest.raises(UserError, match="cannot be read"):
        check_module(tmp_path / "gone.ko", kernel)
    with pytest.raises(UserError, match=r"not a relocatable object|it is for"):
        check_module(Path("/bin/true").resolve(), kernel)
