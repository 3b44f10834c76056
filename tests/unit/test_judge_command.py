# SPDX-License-Identifier: GPL-2.0-only
"""``harness judge``: any number of logs, plain or gzipped, for people and for programs."""

from __future__ import annotations

import gzip
import io
import json
import sys
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from harness.cli import app
from harness.commands.judge import judge_files

LOGS = Path(__file__).parent / "logs"
BAD = str(LOGS / "x86_64-7.3-kasan.log")
CLEAN = str(LOGS / "x86_64-7.3-clean-boot.log")
OOM = str(LOGS / "x86_64-7.3-oom-kill.log")


def objects(capsys: pytest.CaptureFixture[str]) -> list[dict[str, Any]]:
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


def test_one_object_a_line_in_the_order_given(capsys: pytest.CaptureFixture[str]) -> None:
    assert judge_files([CLEAN, BAD, OOM], as_json=True) == 1
    clean, bad, oom = objects(capsys)
    assert [one["file"] for one in (clean, bad, oom)] == [CLEAN, BAD, OOM]
    assert clean["reports"] == oom["reports"] == []
    [report] = bad["reports"]
    assert {name: report[name] for name in ("kind", "title", "frame", "corrupted", "line")} == {
        "kind": "kasan",
        "title": "KASAN: slab-use-after-free Read in bucket_free",
        "frame": "bucket_free",
        "corrupted": False,
        "line": 12,
    }
    assert [fact["kind"] for fact in oom["facts"]] == ["oom"]


def test_the_exit_code(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    missing = str(tmp_path / "missing.log")
    assert judge_files([CLEAN, OOM], as_json=False) == 0
    assert judge_files([BAD], as_json=False) == 1
    assert judge_files([missing, BAD, str(tmp_path)], as_json=True) == 2
    captured = capsys.readouterr()
    assert f"{missing} cannot be read: No such file or directory" in captured.err
    assert f"{tmp_path} cannot be read: Is a directory" in captured.err
    assert '"kasan"' in captured.out, "the others are judged all the same"


def test_standard_input_and_gzip(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    packed = gzip.compress(Path(BAD).read_bytes())
    (tmp_path / "log.gz").write_bytes(packed)
    for data in (packed, Path(BAD).read_bytes()):
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BufferedReader(io.BytesIO(data))))
        assert judge_files(["-", str(tmp_path / "log.gz")], as_json=True) == 1
        first, second = objects(capsys)
        assert first["file"] == "-"
        assert first["reports"] == second["reports"] != []


def test_a_gzip_that_was_cut_short_cannot_be_read(tmp_path: Path) -> None:
    path = tmp_path / "log.gz"
    path.write_bytes(gzip.compress(Path(BAD).read_bytes())[:-20])
    assert judge_files([str(path)], as_json=True) == 2


def test_what_a_person_reads(capsys: pytest.CaptureFixture[str]) -> None:
    judge_files([CLEAN, BAD, OOM, str(LOGS / "x86_64-7.3-messages-dropped.log")], as_json=False)
    text = capsys.readouterr().out
    for words in (
        "clean in 216 lines",
        "line 12: kasan KASAN: slab-use-after-free Read in bucket_free",
        "no bug by itself:",
        "line 16: oom OOM kill of sh",
        "not to be trusted: messages were dropped within it",
        "messages of the kernel never reached this log",
    ):
        assert words in text, text


def test_an_empty_log_is_clean(tmp_path: Path) -> None:
    (tmp_path / "empty").write_bytes(b"")
    assert judge_files([str(tmp_path / "empty")], as_json=False) == 0


def test_an_oops_without_time_stamps_below_lines_that_have_them_counts(tmp_path: Path) -> None:
    """On a console of ours it is what somebody printed; in a log from anywhere it is an oops."""
    lines = Path(BAD).read_text().partition("\n\n")[2].splitlines()
    bare = "\n".join(line.partition("] ")[2] for line in lines)
    (tmp_path / "mixed.log").write_text(f"[    0.000000] Booting\n{bare}\n")
    assert judge_files([str(tmp_path / "mixed.log")], as_json=True) == 1


def test_it_is_a_command() -> None:
    assert CliRunner().invoke(app, ["judge", "--json", CLEAN]).exit_code == 0
    assert CliRunner().invoke(app, ["judge", BAD]).exit_code == 1
    assert CliRunner().invoke(app, ["judge"]).exit_code == 2
