# SPDX-License-Identifier: GPL-2.0-only
"""The reports of real runs: KTAP as the kernel's own tool reads it, and stacks that name real lines."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
from pathlib import Path

import pytest
from elftools.elf.elffile import ELFFile
from elftools.elf.sections import SymbolTableSection

from harness import targets
from harness.build import tree as trees
from harness.build.artefacts import find_all
from harness.build.store import Store
from harness.judge.dmesg import parse
from harness.judge.verdict import Result, Verdict
from harness.report import decoding, every, ktap
from harness.targets import DEFAULT_TARGET

READ_WITH_KUNIT = """
import json, sys
sys.path.insert(0, sys.argv[1])
import kunit_parser
from kunit_printer import Printer
lines = open(sys.argv[2], encoding="utf-8").read().splitlines()
test = kunit_parser.parse_run_tests(lines, Printer(print=False))
def plain(one):
    return {"name": one.name, "status": one.status.name, "subtests": [plain(sub) for sub in one.subtests]}
counts = test.counts
print(json.dumps({"passed": counts.passed, "failed": counts.failed, "skipped": counts.skipped,
                  "crashed": counts.crashed, "errors": counts.errors, "tests": plain(test)["subtests"]}))
"""


def result(scenario: str, target: str, verdict: Verdict) -> Result:
    return Result(
        scenario, target, verdict, "" if verdict is Verdict.PASSED else "because # of | this", 1.0, "",
        claim="it holds", lines=("not ok 1 forged", "1..7", "KTAP version 1", "    # Subtest: forged"),
    )  # fmt: skip


def test_the_kernels_own_tool_reads_our_ktap(tmp_path: Path) -> None:
    source = trees.find(targets.target(DEFAULT_TARGET), Store())
    assert source is not None, "the kernel's source is unpacked by harness build"
    kunit = source.path / "tools" / "testing" / "kunit"
    verdicts = {
        "7.3-x86_64": [Verdict.PASSED, Verdict.FAILED, Verdict.CRASHED, Verdict.BROKEN],
        "7.3-arm64": [Verdict.PASSED, Verdict.IMPOSSIBLE],
    }
    found = [
        result(f"Z{number:02}", target, verdict)
        for target, some in verdicts.items()
        for number, verdict in enumerate(some)
    ]
    ktap.write(tmp_path / ktap.FILE, found)
    command = [sys.executable, "-c", READ_WITH_KUNIT, str(kunit), str(tmp_path / ktap.FILE)]
    run = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert run.returncode == 0, run.stderr
    read = json.loads(run.stdout)
    assert (read["passed"], read["failed"], read["skipped"]) == (2, 3, 1)
    assert (read["crashed"], read["errors"]) == (0, 0), "it is not what the specification says"
    assert [test["name"] for test in read["tests"]] == list(verdicts)
    assert [test["status"] for test in read["tests"]] == ["FAILURE", "SUCCESS"]
    assert [sub["name"] for sub in read["tests"][0]["subtests"]] == ["Z00", "Z01", "Z02", "Z03"]


PANIC = """\
[    6.435533] Kernel panic - not syncing: sysrq triggered crash
[    6.436558] CPU: 0 UID: 0 PID: 55 Comm: sh Not tainted 7.3.4-harness
[    6.437078] Call Trace:
[    6.437751]  <TASK>
[    6.440057]  panic+{panic}
[    6.440276]  sysrq_handle_crash+{crash}
[    6.440500]  </TASK>
"""


def test_stacks_of_a_run_are_decoded_and_shown_on_the_page(tmp_path: Path) -> None:
    artefacts = find_all(targets.target(DEFAULT_TARGET), Store())
    assert artefacts is not None, "the kernel is built by harness build"
    kernel = artefacts.kernel
    with kernel.vmlinux.open("rb") as file:
        table = ELFFile(file).get_section_by_name(".symtab")
        assert isinstance(table, SymbolTableSection)
        names = ("panic", "sysrq_handle_crash")
        found = {name: table.get_symbol_by_name(name) for name in names}
    sizes = {name: symbols[0]["st_size"] for name, symbols in found.items() if symbols}
    places = {
        "panic": f"{sizes['panic'] - 1:#x}/{sizes['panic']:#x}",
        "crash": f"{sizes['sysrq_handle_crash'] - 1:#x}/{sizes['sysrq_handle_crash']:#x}",
    }
    reports = tuple(parse(PANIC.format(**places)))
    evidence = tmp_path / "one"
    evidence.mkdir()
    about = {"kernel": {"build": str(kernel.build_dir)}, "files": {}}
    (evidence / "about.json").write_text(json.dumps(about))
    crashed = dataclasses.replace(
        result("Z06", DEFAULT_TARGET, Verdict.CRASHED),
        evidence="one",
        reports=reports,
        reason=reports[0].title,
    )

    [told] = every.tell(tmp_path, [crashed])
    handler = told.decoded[0][1]
    assert handler.places[-1].function == "sysrq_handle_crash"
    assert handler.places[-1].file == "drivers/tty/sysrq.c"
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "drivers/tty/sysrq.c:" in page.replace("\n", "")

    (evidence / "about.json").write_text(json.dumps({"kernel": {"build": str(tmp_path)}}))
    assert decoding.decoded([crashed], tmp_path) == [crashed], "without a kernel it stays as it was printed"


@pytest.mark.parametrize("about", ["", "[]", '{"kernel": 5, "files": 7}', '{"kernel": {"build": 5}}'])
def test_an_about_that_is_garbage_decodes_nothing(tmp_path: Path, about: str) -> None:
    (tmp_path / "one").mkdir()
    (tmp_path / "one" / "about.json").write_text(about)
    reports = tuple(parse(PANIC.format(panic="0x1/0x2", crash="0x1/0x2")))
    crashed = dataclasses.replace(result("Z06", "t", Verdict.CRASHED), evidence="one", reports=reports)
    assert decoding.decoded([crashed], tmp_path) == [crashed]
