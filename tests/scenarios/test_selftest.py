# SPDX-License-Identifier: GPL-2.0-only
"""Each planted fault is found, with the right kind and the right function to blame.

One function for the whole table of :mod:`harness.drive.faults`: a fault is no scenario of the catalogue,
which holds the claims of the threads, but runs like one, so that verdict, evidence and results come from
where every scenario's come from.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from harness import targets
from harness.drive import selftest
from harness.drive.fault import Fault
from harness.drive.faults import FAULTS, INNOCENTS
from harness.drive.runner import ScenarioRun, impossible
from harness.drive.workbench import Workbench
from harness.judge.verdict import Verdict
from harness.pytest_plugin import RESULT, RUN, _evidence


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "planted" in metafunc.fixturenames:
        names = [target.name for target in targets.named(metafunc.config.option.target)]
        cases = [(fault, name) for name in names for fault in (*FAULTS, *INNOCENTS)]
        metafunc.parametrize(
            "planted", cases, indirect=True, ids=[f"{fault.id}-{name}" for fault, name in cases]
        )


@pytest.fixture
def planted(request: pytest.FixtureRequest, workbench: Workbench) -> Iterator[Callable[[], None]]:
    """What plants the fault and looks at what comes of it; the guest is there already."""
    fault: Fault
    fault, name = request.param
    target = targets.target(name)
    scenario = selftest.scenario_for(fault, target)
    if (why := scenario.why_impossible(target)) is not None:
        request.node.stash[RESULT] = impossible(scenario, target, why)
        pytest.skip(why)
    root = _evidence(request.config)
    if fault.boot:

        def boot() -> None:
            request.node.stash[RESULT] = result = selftest.boot(fault, target, workbench, root)
            assert result.verdict is Verdict.PASSED, result.reason

        yield boot
        return
    run = ScenarioRun(scenario, target, workbench, root)
    request.node.stash[RUN] = run
    try:
        guest = run.start()
        yield lambda: selftest.plant(guest, fault)
    finally:
        run.stop()


def test_fault(planted: Callable[[], None]) -> None:
    planted()
