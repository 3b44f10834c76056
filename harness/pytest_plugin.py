# SPDX-License-Identifier: GPL-2.0-only
"""Lets pytest run scenarios: each test with a ``guest`` argument gets a private clone, once a target.

The verdict is settled while the guest is still there, right after the test function, and travels with
pytest's report, so that it also reaches the controller when pytest-xdist runs several at once.
"""

from __future__ import annotations

import base64
import pickle
from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import pytest

from harness import targets
from harness.build.store import Store
from harness.drive import canary, schedule
from harness.drive.guest import Guest
from harness.drive.runner import ScenarioRun, impossible
from harness.drive.scenario import scenario_of
from harness.errors import HarnessError
from harness.judge.verdict import Result, Verdict
from harness.progress import Progress, quiet
from harness.report import terminal
from harness.settings import run_dir

if TYPE_CHECKING:
    from harness.drive.workbench import Workbench

PROPERTY: Final = "harness-result"
EVIDENCE: Final = "harness-evidence"
COLLECTOR: Final = "harness-collector"

DURATIONS: Final = "harness-durations"
DURATIONS_KEY: Final = pytest.StashKey[schedule.Durations]()
RUN: Final = pytest.StashKey[ScenarioRun]()
RESULT: Final = pytest.StashKey[Result]()


class ScenarioNotPassed(Exception):
    """A scenario whose function was content, but whose kernel or evidence was not."""


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("harness", "scenarios in guests")
    group.addoption("--target", action="append", default=[], help="a target, by name; can be repeated")
    group.addoption("--module", action="append", default=[], help="a module's directory; can be repeated")
    group.addoption("--tree", default=None, help="a kernel tree of your own: directory, tarball, DIR@REF")
    group.addoption("--cold", action="store_true", help="boot each scenario's guest instead of cloning it")
    group.addoption("--evidence", default=None, help="the folder for this run's evidence")


def pytest_configure(config: pytest.Config) -> None:
    if hasattr(config, "workerinput"):
        return
    if config.option.evidence is None:
        config.option.evidence = str(run_dir())
    if not config.pluginmanager.has_plugin(COLLECTOR):
        config.pluginmanager.register(Collector(), COLLECTOR)


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:
    """pytest-xdist makes a worker: it writes to the same folder and sorts alike."""
    node.workerinput[EVIDENCE] = node.config.option.evidence
    node.workerinput[DURATIONS] = _durations(node.config)


def _evidence(config: pytest.Config) -> Path:
    """The folder of this run, in the controller and in workers."""
    given: dict[str, str] = getattr(config, "workerinput", {EVIDENCE: config.option.evidence})
    return Path(given[EVIDENCE])


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "guest" in metafunc.fixturenames:
        chosen = targets.named(metafunc.config.option.target)
        metafunc.parametrize("guest", [target.name for target in chosen], indirect=True)


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """What needs guests first, the longest of it at the very beginning; the rest in its order."""
    known = _durations(config)
    fixtures = {"guest", "workbench"}

    def seconds(item: pytest.Item) -> float:
        guest = not fixtures.isdisjoint(getattr(item, "fixturenames", ()))
        return schedule.expected(known, item.nodeid, guest=guest)

    items.sort(key=seconds, reverse=True)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:
    """pytest-xdist asks how many ``-n auto`` is."""
    return schedule.guests_at_once(targets.named(config.option.target))


def _durations(config: pytest.Config) -> schedule.Durations:
    """The same in the controller and in its workers, or they would not agree on the order."""
    given: dict[str, schedule.Durations] = getattr(config, "workerinput", {})
    if DURATIONS not in given:
        config.stash.setdefault(DURATIONS_KEY, schedule.load(Store()))
        return config.stash[DURATIONS_KEY]
    return given[DURATIONS]


@pytest.fixture(scope="session")
def workbench(pytestconfig: pytest.Config) -> Workbench:
    """What the session's scenarios stand on; built on first use."""
    # Unit tests need neither QEMU nor a toolchain, nor the time to import what drives them.
    from harness.drive.workbench import Workbench

    worker = hasattr(pytestconfig, "workerinput")
    modules = [Path(name) for name in pytestconfig.option.module]
    progress = quiet() if worker else Progress()
    return Workbench(modules, pytestconfig.option.tree, progress, cold=pytestconfig.option.cold)


@pytest.fixture
def guest(request: pytest.FixtureRequest, workbench: Workbench) -> Iterator[Guest]:
    """A private clone for one scenario on one target."""
    scenario = scenario_of(request.function)
    assert scenario is not None, f"{request.node.name} takes a guest but is no scenario"
    target = targets.target(request.param)
    if (why := scenario.why_impossible(target)) is not None:
        request.node.stash[RESULT] = impossible(scenario, target, why)
        pytest.skip(why)
    run = ScenarioRun(scenario, target, workbench, _evidence(request.config))
    request.node.stash[RUN] = run
    try:
        for detector in canary.needed(scenario, target):
            canary.prove(detector, scenario, target, workbench, _evidence(request.config))
        yield run.start()
    finally:
        run.stop()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, object, object]:
    run = item.stash.get(RUN, None)
    if run is None:
        return (yield)
    try:
        outcome = yield
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        item.stash[RESULT] = result = run.settle(error)
        if result.verdict is not Verdict.PASSED:
            raise
        return None
    item.stash[RESULT] = result = run.settle(None)
    if result.verdict is not Verdict.PASSED:
        raise ScenarioNotPassed(f"{result.verdict}: {result.reason}")
    return outcome


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    run = item.stash.get(RUN, None)
    if call.when == "setup" and report.failed and run is not None and call.excinfo is not None:
        item.stash[RESULT] = run.settle(call.excinfo.value)
    if (result := item.stash.get(RESULT, None)) is not None:
        del item.stash[RESULT]
        # Plain text is what reports can carry from a worker; the pickle is our own.
        packed = base64.b64encode(pickle.dumps(result)).decode()
        report.user_properties.append((PROPERTY, packed))
        if isinstance(call.excinfo and call.excinfo.value, HarnessError):
            report.longrepr = f"{result.scenario} on {result.target}: {result.verdict}: {result.reason}"
    return report


class Collector:
    """Gathers the results of a session; writes the reports beside the evidence.

    Whoever gives ``on_result`` knows more of the run and writes them himself.
    """

    def __init__(self, on_result: Callable[[Result], None] | None = None) -> None:
        self.results: list[Result] = []
        self.problems: list[str] = []
        self._taken: schedule.Durations = {}
        self._on_result = on_result

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        self._taken[report.nodeid] = self._taken.get(report.nodeid, 0.0) + report.duration
        for name, value in report.user_properties:
            if name == PROPERTY:
                result: Result = pickle.loads(base64.b64decode(str(value)))
                self.results.append(result)
                if self._on_result is not None:
                    self._on_result(result)

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        if report.failed:
            self.problems.append(report.longreprtext)

    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        schedule.remember(Store(), self._taken)
        if not self.results:
            return
        evidence = _evidence(session.config)
        self.results.sort(key=lambda result: (result.target, result.scenario))
        if self._on_result is None:
            from harness.report import every  # jinja2 takes a while, and most sessions have no results

            self.results = every.tell(evidence, self.results)

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        if self.results:
            terminalreporter.section("scenarios")
            terminal.show(self.results, evidence=_evidence(terminalreporter.config))
