# SPDX-License-Identifier: GPL-2.0-only
"""What scenarios say about themselves, and how they are chosen."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness import targets
from harness.drive import catalogue as catalogue_module
from harness.drive.catalogue import catalogue, select
from harness.drive.scenario import Scenario, scenario, scenario_of
from harness.errors import UserError


def test_a_marked_function_says_what_it_claims() -> None:
    @scenario("Z06", claim="What goes out comes back", thread="zpool v4", modules=("rust_zpool",))
    def drive() -> None: ...

    assert scenario_of(drive) == Scenario("Z06", "What goes out comes back", "zpool v4", ("rust_zpool",))


def test_an_ordinary_function_is_no_scenario() -> None:
    assert scenario_of(test_an_ordinary_function_is_no_scenario) is None


@pytest.mark.parametrize("wrong", ["z06", "Z6", "ZZ06", "Z06-", ""])
def test_an_id_is_a_family_and_a_number(wrong: str) -> None:
    with pytest.raises(ValueError, match="no scenario id"):
        scenario(wrong, claim="", thread="")


def test_a_target_is_impossible_by_its_name_or_its_architecture() -> None:
    target = targets.target("7.3-x86_64")
    by_arch = Scenario("F10", "", "", impossible={"x86_64": "kmap_local maps nothing"})
    by_name = Scenario("F10", "", "", impossible={"7.3-x86_64": "no highmem"})
    neither = Scenario("F10", "", "", impossible={"arm64": "kmap_local maps nothing"})
    assert by_arch.why_impossible(target) == "kmap_local maps nothing"
    assert by_name.why_impossible(target) == "no highmem"
    assert neither.why_impossible(target) is None


@pytest.fixture
def three(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A catalogue of three scenarios in a file of their own."""
    lines = ["from harness.drive.scenario import scenario"]
    for name in ("Z11", "S07", "Z03"):
        lines += [f"@scenario({name!r}, claim='', thread='')", f"def test_{name}(guest): ..."]
    (tmp_path / "test_three.py").write_text("\n".join(lines))
    monkeypatch.setattr(catalogue_module, "SCENARIOS", tmp_path)
    catalogue.cache_clear()


@pytest.mark.usefixtures("three")
def test_scenarios_are_chosen_by_id_and_by_family() -> None:
    try:
        assert [entry.scenario.id for entry in select(())] == ["S07", "Z03", "Z11"]
        assert [entry.scenario.id for entry in select(("z11",))] == ["Z11"]
        assert [entry.scenario.id for entry in select(("Z", "S07"))] == ["S07", "Z03", "Z11"]
        with pytest.raises(UserError, match="no scenario 'Z99'") as caught:
            select(("Z99",))
        assert "S07 Z03 Z11" in caught.value.todo
        assert caught.value.exit_code == 2
    finally:
        catalogue.cache_clear()
