# SPDX-License-Identifier: GPL-2.0-only
"""Where a run leaves its evidence."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.commands.evidence import new_evidence_dir
from harness.errors import InfrastructureError


def test_runs_that_begin_together_have_folders_of_their_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HARNESS_EVIDENCE", str(tmp_path / "evidence"))
    folders = [new_evidence_dir() for _ in range(50)]
    assert len(set(folders)) == 50
    assert (tmp_path / "evidence/latest").resolve() == folders[-1]


def test_a_file_in_the_way_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("HARNESS_EVIDENCE", str(tmp_path / "file"))
    with pytest.raises(InfrastructureError, match=r"cannot write evidence to .*file"):
        new_evidence_dir()
