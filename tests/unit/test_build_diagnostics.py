# SPDX-License-Identifier: GPL-2.0-only
"""The compiler's first error, in the user's own paths."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.build.diagnostics import first_error, map_paths

CLANG = """\
make[1]: Entering directory '/build/kernel'
  CC      mm/zswap.o
In file included from /build/linux/mm/zswap.c:12:
/build/linux/mm/zswap.c:14:10: warning: unused variable 'x' [-Wunused]
/build/linux/mm/zswap.c:310:2: error: call to undeclared function 'nope'
  310 |         nope();
      |         ^
1 error generated.
make[4]: *** [/build/linux/scripts/Makefile.build:287: mm/zswap.o] Error 1
"""
RUSTC = """\
  RUSTC [M] rust_zpool_main.o
warning: unused import
 --> /build/modules/rust_zpool/zpool.rs:3:5
error[E0308]: mismatched types
  --> /build/modules/rust_zpool/rust_zpool_main.rs:41:9
   |
41 |         "one"
   |         ^^^^^ expected `usize`, found `&str`

error: aborting due to 1 previous error
"""
MODPOST = """\
  MODPOST Module.symvers
ERROR: modpost: "not_exported" [rust_zpool.ko] undefined!
make[2]: *** [scripts/Makefile.modpost:147: Module.symvers] Error 1
"""
PLACES = {"/build/modules/rust_zpool": Path("/home/me/rust_zpool"), "/build/linux": Path("/cache/linux")}


def test_clang() -> None:
    found = first_error(CLANG, PLACES)
    assert found is not None
    assert (found.file, found.line) == ("/cache/linux/mm/zswap.c", 310)
    assert str(found) == "/cache/linux/mm/zswap.c:310: call to undeclared function 'nope'"
    assert "nope();" in found.context
    assert "make" not in found.context


def test_rustc() -> None:
    found = first_error(RUSTC, PLACES)
    assert found is not None
    assert str(found) == "/home/me/rust_zpool/rust_zpool_main.rs:41: mismatched types [E0308]"
    assert "expected `usize`" in found.context
    assert "/build/" not in found.context


def test_an_error_with_a_place_comes_before_make() -> None:
    found = first_error("make: *** No rule to make target 'a.o'.  Stop.\n" + CLANG)
    assert found is not None
    assert found.line == 310


@pytest.mark.parametrize(
    ("output", "what"),
    [
        (MODPOST, 'modpost: "not_exported" [rust_zpool.ko] undefined!'),
        ("ld.lld: error: undefined symbol: f\n>>> x\n", "undefined symbol: f"),
        (
            "make[3]: *** No rule to make target 'shim.o', needed by 'x'.  Stop.",
            "No rule to make target 'shim.o', needed by 'x'.  Stop.",
        ),
    ],
)
def test_errors_without_a_place(output: str, what: str) -> None:
    found = first_error(output)
    assert found is not None
    assert (str(found), found.file) == (what, "")


def test_the_first_of_several_counts() -> None:
    output = "ERROR: modpost: one\nERROR: modpost: two\nmake: *** No rule to make target 'x'.\n"
    assert str(first_error(output)) == "modpost: one"
    assert str(first_error(RUSTC + CLANG)).endswith("mismatched types [E0308]")


def test_no_error() -> None:
    assert first_error("  CC      a.o\nmake: Leaving directory\n") is None


def test_paths_are_mapped_only_where_they_end() -> None:
    assert (
        map_paths("/build/linux/a /build/linux-2/b x/build/linux", PLACES)
        == "/cache/linux/a /build/linux-2/b x/build/linux"
    )
