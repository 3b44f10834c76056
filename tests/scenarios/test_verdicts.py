# SPDX-License-Identifier: GPL-2.0-only
"""Each verdict given for what it is for, by real guests that really fail, crash, hang and die.

A harness that cannot fail a scenario proves nothing by passing one. The scenarios here are wrong on
purpose and run in a pytest of their own; what counts is what their results file says of them.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from harness.report import every

HEAD = """
from harness.drive.guest import Guest
from harness.drive.pages import Pages
from harness.drive.scenario import scenario
from harness.judge.kinds import Kind
"""

SCENARIOS = """
@scenario("V00", claim="nothing is claimed", thread="")
def test_v00_nothing(guest: Guest) -> None:
    guest.run("true")


@scenario("V01", claim="two and two are five", thread="")
def test_v01_false_claim(guest: Guest) -> None:
    assert guest.run("echo $((2 + 2))").text == "5\\n", "two and two are four"


@scenario("V02", claim="a kernel survives sysrq-c", thread="")
def test_v02_panic(guest: Guest) -> None:
    guest.run("echo c > /proc/sysrq-trigger")


@scenario("V03", claim="something happened", thread="")
def test_v03_vacuous(guest: Guest) -> None:
    guest.prove(False, "something happened")


@scenario("V04", claim="a loop ends", thread="", seconds=1)
def test_v04_hang(guest: Guest) -> None:
    guest.run("while :; do :; done")


@scenario("V05", claim="memory is endless", thread="")
def test_v05_out_of_memory(guest: Guest) -> None:
    hog = Pages(guest, "hog")
    try:
        for _ in range(100):
            hog.hold(4096)
    except Exception:
        pass


@scenario("V06", claim="shown elsewhere", thread="", impossible={"x86_64": "wrong kind of machine"})
def test_v06_impossible(guest: Guest) -> None:
    raise AssertionError("must not run")


@scenario("V07", claim="a bug is caught that is not there", thread="")
def test_v07_expected_report(guest: Guest) -> None:
    guest.expect_report(Kind.WARNING)


@scenario("V08", claim="a process cannot speak for the kernel", thread="")
def test_v08_noise(guest: Guest) -> None:
    guest.run("echo 'BUG: kernel NULL pointer dereference, address: 0' > /dev/kmsg")


@scenario("V09", claim="a machine that goes away is not the kernel's fault", thread="")
def test_v09_killed(guest: Guest) -> None:
    guest._machine.stop()
    guest.run("true")


@scenario("V10", claim="a panic that was asked for is no surprise", thread="")
def test_v10_expected_panic(guest: Guest) -> None:
    guest.expect_report(Kind.PANIC)
    guest.run("echo c > /proc/sysrq-trigger")
"""

EXPECTED = {
    "V00": ("passed", ""),
    "V01": ("failed", "two and two are four"),
    "V02": ("crashed", "sysrq triggered crash"),
    "V03": ("broken", "not proved: something happened"),
    "V04": ("broken", "time is up"),
    "V05": ("failed", "must not run out of memory"),
    "V06": ("impossible", "wrong kind of machine"),
    "V07": ("failed", "expected warning"),
    "V08": ("passed", ""),
    "V09": ("broken", "shell was lost"),
    "V10": ("passed", "sysrq triggered crash"),
}


def run_all(folder: Path) -> dict[str, Any]:
    """What the results file says, by scenario."""
    (folder / "test_wrong.py").write_text(HEAD + SCENARIOS, encoding="utf-8")
    words = ["-p", "harness.pytest_plugin", "-p", "no:cacheprovider", f"--evidence={folder / 'evidence'}"]
    run = subprocess.run(
        [sys.executable, "-m", "pytest", *words, "-c", "/dev/null", "--rootdir", str(folder), str(folder)],
        capture_output=True,
        text=True,
        timeout=300,
        # What fails here on purpose is not for the page of a job that runs this test.
        env={name: value for name, value in os.environ.items() if name != every.STEP_SUMMARY},
    )
    assert run.returncode == pytest.ExitCode.TESTS_FAILED, run.stdout + run.stderr
    document = json.loads((folder / "evidence" / "results.json").read_text(encoding="utf-8"))
    return {result["scenario"]: result for result in document["results"]}


def test_each_verdict_is_given_for_what_it_is_for(tmp_path: Path) -> None:
    # One test and not a dozen: a session of several processes would run the guests in each.
    results = run_all(tmp_path)
    assert sorted(results) == sorted(EXPECTED)
    for name, (verdict, reason) in EXPECTED.items():
        found = results[name]
        assert (found["verdict"], reason in found["reason"]) == (verdict, True), found
    check_evidence_of_the_worst(tmp_path / "evidence", results["V02"], results["V04"])


def check_evidence_of_the_worst(evidence: Path, panic: dict[str, Any], hang: dict[str, Any]) -> None:
    console = (evidence / panic["evidence"] / "console.log").read_text()
    assert "Kernel panic - not syncing: sysrq triggered crash" in console
    assert [report["kind"] for report in panic["reports"]] == ["panic"]
    saved = (evidence / hang["evidence"] / "hang.txt").read_text()
    assert "RIP=" in saved, "the processors' registers"
    assert "sysrq: Show State" in saved, "the kernel's own answer"
    console = (evidence / hang["evidence"] / "console.log").read_text()
    assert "sysrq" not in console, "what it said only because it was asked"
