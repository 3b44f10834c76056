# SPDX-License-Identifier: GPL-2.0-only
"""Fragments against the final configuration, and the reasons for what was dropped."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness import targets
from harness.build import kconfig, kconfig_reason
from harness.errors import UserError

KCONFIG = """\
mainmenu "Test"

config SWAP
\tbool "Swap"

config CRYPTO
\tbool

menu "Memory"
\tdepends on MMU

config ZSWAP
\tbool "Compressed swap"
\tdepends on SWAP && \\
\t\t(!TINY || BIG > 3)
\tselect CRYPTO
\thelp
\t  Words that look like Kconfig:
\t  depends on NOTHING

config HIDDEN
\tbool
\tdefault y

config EXPERT_ONLY
\tbool "For experts" if EXPERT
\tdefault y

config NAMED
\tstring "A name"

endmenu

if NET
config ETHER
\ttristate "Ethernet"
\tdepends on PCI || ISA
endif
"""


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    (tmp_path / "Kconfig").write_text(KCONFIG)
    (tmp_path / "arch" / "other").mkdir(parents=True)
    (tmp_path / "arch" / "other" / "Kconfig").write_text('config FOREIGN\n\tbool "Not here"\n')
    return tmp_path


def reason(tree: Path, name: str, wanted: str, **config: str) -> str:
    definitions = kconfig_reason.read(tree, "x86_64", {name})
    return kconfig_reason.explain(name, wanted, config, definitions)


def test_a_fragment_is_read_with_its_lines(tmp_path: Path) -> None:
    file = tmp_path / "a.config"
    file.write_text(
        '# words\n\nCONFIG_A=y\n# CONFIG_B is not set\nCONFIG_C="x y"\nCONFIG_D=0x10\nCONFIG_E=-3\n'
    )
    requests = kconfig.parse_fragment(file)
    assert [(r.name, r.value, r.line) for r in requests] == [
        ("A", "y", 3),
        ("B", "n", 4),
        ("C", '"x y"', 5),
        ("D", "0x10", 6),
        ("E", "-3", 7),
    ]
    assert requests[0].place == f"{file}:3"


@pytest.mark.parametrize("line", ["CONFIG_A", "CONFIG_A=yes", "A=y", 'CONFIG_A="open', "CONFIG_A = y"])
def test_a_line_that_is_none_is_named(tmp_path: Path, line: str) -> None:
    file = tmp_path / "a.config"
    file.write_text(f"CONFIG_OK=y\n{line}\n")
    with pytest.raises(UserError, match=r"a\.config:2: "):
        kconfig.parse_fragment(file)


def test_every_kind_of_value_is_compared(tmp_path: Path) -> None:
    file = tmp_path / "a.config"
    file.write_text('CONFIG_A=y\nCONFIG_B=n\nCONFIG_C="x"\nCONFIG_D=0x10\nCONFIG_E=12\nCONFIG_F=m\n')
    requests = kconfig.parse_fragment(file)
    good = kconfig.parse_config(
        'CONFIG_A=y\n# CONFIG_B is not set\nCONFIG_C="x"\nCONFIG_D=0x010\nCONFIG_E=12\nCONFIG_F=m\n'
    )
    assert kconfig.dropped(requests, good) == []
    bad = kconfig.parse_config(
        'CONFIG_A=m\nCONFIG_B=y\nCONFIG_C="y"\nCONFIG_D=0x11\nCONFIG_E=13\nCONFIG_F=y\n'
    )
    assert [request.name for request in kconfig.dropped(requests, bad)] == list("ABCDEF")


def test_the_later_fragment_counts(tmp_path: Path) -> None:
    target = targets.target("7.3-x86_64")
    for number, fragment in enumerate(target.fragments):
        (tmp_path / f"{fragment}.config").write_text(f"CONFIG_A={number}\n")
    [request] = kconfig.requests_of(target, tmp_path)
    assert request.value == str(len(target.fragments) - 1)
    assert kconfig.as_text([request]) == f"CONFIG_A={request.value}\n"


def test_the_projects_own_fragments_are_readable() -> None:
    for target in targets.targets().values():
        assert len(kconfig.requests_of(target)) > 50


def test_an_option_that_does_not_exist(tree: Path) -> None:
    assert reason(tree, "NOPE", "y") == "this kernel has no such option"
    assert reason(tree, "FOREIGN", "y") == "this kernel has no such option"


def test_unmet_dependencies_are_named(tree: Path) -> None:
    assert reason(tree, "ZSWAP", "y", MMU="y") == "it depends on CONFIG_SWAP=y, which is n"
    said = reason(tree, "ZSWAP", "y", MMU="y", SWAP="y", TINY="y", BIG="2")
    assert said == "it depends on CONFIG_TINY=n or CONFIG_BIG > 3"
    assert "CONFIG_MMU=y" in reason(tree, "ZSWAP", "y", SWAP="y")
    assert "NOTHING" not in reason(tree, "ZSWAP", "y")
    said = reason(tree, "ETHER", "y", NET="y")
    assert said == "it depends on CONFIG_PCI=y, which is n or CONFIG_ISA=y, which is n"
    assert "CONFIG_NET=y" in reason(tree, "ETHER", "y", PCI="y")


def test_what_cannot_be_set_by_hand(tree: Path) -> None:
    assert "no prompt" in reason(tree, "CRYPTO", "y")
    assert "selected by CONFIG_ZSWAP" in reason(tree, "CRYPTO", "y")
    assert reason(tree, "CRYPTO", "n", CRYPTO="y", ZSWAP="y") == "it is y, selected by CONFIG_ZSWAP"
    assert "no prompt" in reason(tree, "HIDDEN", "n", HIDDEN="y")
    assert "CONFIG_EXPERT=y" in reason(tree, "EXPERT_ONLY", "n", MMU="y", EXPERT_ONLY="y")
    assert "cannot be a module" in reason(tree, "SWAP", "m", SWAP="y")


def test_check_names_option_place_and_reason(tree: Path, tmp_path: Path) -> None:
    file = tmp_path / "a.config"
    file.write_text("CONFIG_MMU=y\nCONFIG_ZSWAP=y\n")
    requests = kconfig.parse_fragment(file)
    kconfig.check(requests, {"MMU": "y", "ZSWAP": "y"}, tree, "x86_64")
    with pytest.raises(UserError) as caught:
        kconfig.check(requests, {"MMU": "y"}, tree, "x86_64")
    assert f"CONFIG_ZSWAP=y ({file}:2): it depends on CONFIG_SWAP=y" in caught.value.what
    assert "CONFIG_MMU=y (" not in caught.value.what


def test_a_name_that_no_kconfig_knows_is_told_with_its_line(tree: Path) -> None:
    file = tree / "a.config"
    file.write_text("CONFIG_ZSWAP=y\nCONFIG_FOREIGN=y\nCONFIG_GONE=n\nCONFIG_NAMED=y\n")
    requests = kconfig.parse_fragment(file)
    with pytest.raises(UserError) as caught:
        kconfig.check_known(requests, tree, "x86_64")
    assert f"CONFIG_FOREIGN=y ({file}:2)" in caught.value.what
    assert not any(name in caught.value.what for name in ("ZSWAP", "GONE", "NAMED"))
    kconfig.check_known([request for request in requests if request.name != "FOREIGN"], tree, "x86_64")
