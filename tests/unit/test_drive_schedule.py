# SPDX-License-Identifier: GPL-2.0-only
"""What starts first, how many run at once, and what is remembered of a run."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness import targets
from harness.build.store import Store
from harness.drive import schedule
from harness.drive.scenario import Scenario, scenario
from harness.errors import UserError
from harness.targets import Detector

GIB = 1 << 30


def test_the_last_time_counts_and_a_guest_that_never_ran_may_be_long() -> None:
    known = {"a::b[x]": 4.0}
    assert schedule.expected(known, "a::b[x]", guest=True) == 4.0
    assert schedule.expected(known, "a::b[y]", guest=True) == schedule.UNKNOWN_SECONDS
    assert schedule.expected(known, "a::c", guest=False) == 0.0


def test_durations_are_kept_from_run_to_run(tmp_path: Path) -> None:
    store = Store(tmp_path)
    schedule.remember(store, {"one": 1.234, "unit": 0.01})
    schedule.remember(store, {"two": 2.0, "one": 1.5})
    assert schedule.load(store) == {"one": 1.5, "two": 2.0}, "what takes no time is not worth a line"
    schedule.remember(store, {"two": 0.01})
    assert schedule.load(store) == {"one": 1.5}, "nor what takes none any more"


@pytest.mark.parametrize("text", ["", "{", "[1]", '{"a": "b"}', '{"a": null}'])
def test_a_damaged_record_is_no_record(tmp_path: Path, text: str) -> None:
    (tmp_path / "durations.json").write_text(text)
    assert schedule.load(Store(tmp_path)) == {}


def test_guests_are_bounded_by_memory_that_is_free() -> None:
    every = targets.named(["all"])
    largest = max(target.memory_mib for target in every) + schedule.QEMU_MIB
    assert schedule.guests_at_once(every, 8, available=3 * (largest << 20)) == 3
    assert schedule.guests_at_once(every, 2, available=64 * GIB) == 2
    assert schedule.guests_at_once(every, 8, available=0) == 1, "one always runs, and says what it lacks"


def test_targets_are_named_once_and_all_is_every_one() -> None:
    assert [target.name for target in targets.named([])] == [targets.DEFAULT_TARGET]
    assert targets.named(["7.3-arm64", "all"])[0].name == "7.3-arm64"
    assert len(targets.named(["7.3-arm64", "all"])) == len(targets.targets())
    with pytest.raises(UserError, match="no target 'arm64'"):
        targets.named(["arm64"])


def test_there_are_these_targets() -> None:
    assert list(targets.targets()) == ["7.3-x86_64", "7.3-arm64", "7.3-arm-highmem", "7.3-x86_64-kasan"]


def test_a_scenario_is_impossible_where_the_kernel_lacks_what_it_relies_on() -> None:
    leak = Scenario("Z31", "", "", relies_on=(Detector.KMEMLEAK,), impossible={"arm": "told"})
    why = {name: leak.why_impossible(target) for name, target in targets.targets().items()}
    assert why.pop("7.3-x86_64-kasan") is None
    assert why.pop("7.3-arm-highmem") == "told", "the scenario's own reason comes first"
    assert all("kmemleak" in str(reason) for reason in why.values())


def test_a_costly_detector_is_awake_for_those_who_need_it() -> None:
    plain, kasan = targets.target("7.3-x86_64"), targets.target("7.3-x86_64-kasan")
    leak = Scenario("Z31", "", "", cmdline=("slab_debug=F",), uses=(Detector.KMEMLEAK,))
    assert leak.why_impossible(plain) is None
    assert leak.cmdline_on(plain) == ("slab_debug=F",)
    assert leak.cmdline_on(kasan) == ("kmemleak=on", "slab_debug=F")
    assert Scenario("Z30", "", "").cmdline_on(kasan) == ()


def test_a_detector_nobody_knows_is_refused() -> None:
    with pytest.raises(ValueError, match="kasam"):
        scenario("Z31", claim="", thread="", relies_on=("kasam",))
