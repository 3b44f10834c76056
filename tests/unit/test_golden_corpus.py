# SPDX-License-Identifier: GPL-2.0-only
"""What our own guests said, judged again: every file below ``tests/golden``.

``harness selftest --update`` makes the corpus anew, in guests. After a change of the judge that is meant
to change what it says, ``python tests/unit/test_golden_corpus.py --update`` writes the headers anew from
the consoles that are there: read the difference before you commit it.
"""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from harness import targets
from harness.drive import golden, selftest
from harness.drive.fault import Fault
from harness.drive.faults import FAULTS, INNOCENTS
from harness.drive.golden import CORPUS, Golden, read
from harness.judge.dmesg import parse

FILES = sorted(CORPUS.glob("*/*.log"))
TABLE = {fault.id: fault for fault in (*FAULTS, *INNOCENTS)}
BLAMELESS = {golden.BOOT, *(fault.id for fault in INNOCENTS)}


def name(path: Path) -> str:
    return f"{path.parent.name}/{path.stem}"


@pytest.mark.parametrize("path", FILES, ids=name)
def test_the_judge_says_what_it_said(path: Path) -> None:
    one = read(path)
    assert one.again().reports == one.reports


@pytest.mark.parametrize("path", FILES, ids=name)
def test_what_it_says_is_what_was_planted(path: Path) -> None:
    """A corpus that was refreshed with a judge that is wrong must not become the measure."""
    one = read(path)
    assert path == CORPUS / one.path
    if one.fault in BLAMELESS:
        assert one.reports == ()
        return
    fault, target = TABLE[one.fault], targets.target(one.target)
    selftest.check(parse(one.console), fault.sought(target))
    expected = {sought.kind for sought in (*fault.sought(target), *fault.allowed(target))}
    assert {report.kind for report in one.reports} <= expected


CASES = [
    (target.name, fault)
    for target in targets.targets().values()
    for fault in TABLE.values()
    if fault.why_impossible(target) is None
]


@pytest.mark.parametrize(("target", "fault"), CASES, ids=[f"{name}/{fault.id}" for name, fault in CASES])
def test_there_is_a_file_for_each_fault(target: str, fault: Fault) -> None:
    assert CORPUS / target / f"{fault.id}.log" in FILES


def test_there_is_a_boot_of_each_target() -> None:
    assert {path.parent.name for path in FILES if path.stem == golden.BOOT} == set(targets.targets())


def test_a_file_survives_being_written(tmp_path: Path) -> None:
    one = Golden.judged("warn", "7.3-x86_64", "7.3.4", b"BUG: scheduling while atomic: a b/7/0x2\n\n\xff\n")
    assert [report.kind for report in one.reports] == ["atomic-schedule"]
    assert read(one.write(tmp_path)) == one


def test_an_excerpt_is_what_stands_between_the_marks() -> None:
    console = (
        b"<6>[ 1.0][ T1] boot\n<14>[ 2.0][ T9] harness: begin warn\n<4>[ 3.0][ T9] a\n"
        b"<14>[ 4.0][ T9] harness: end warn\n<4>[ 5.0][ T9] b\n"
    )
    assert golden.excerpt(console, "warn") == b"<4>[ 3.0][ T9] a\n"


def test_an_excerpt_of_a_machine_that_died_goes_to_its_end() -> None:
    many = b"".join(b"line %d\n" % number for number in range(golden.MOST_LINES + 7))
    assert golden.excerpt(many, "warn").startswith(b"line 7\n")
    assert golden.excerpt(b"harness: begin warn\nlast words", "warn") == b"last words"


def test_a_file_that_is_none_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.log"
    path.write_text("FAULT: warn\n")
    with pytest.raises(ValueError, match="no empty line"):
        read(path)
    path.write_text("FAULT: warn\n\nconsole\n")
    with pytest.raises(ValueError, match="headers that are wrong"):
        read(path)


if __name__ == "__main__":
    if sys.argv[1:] != ["--update"]:
        sys.exit("usage: python tests/unit/test_golden_corpus.py --update")
    for file in FILES:
        read(file).again().write()
