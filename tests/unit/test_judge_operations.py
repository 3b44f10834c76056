# SPDX-License-Identifier: GPL-2.0-only
"""What a scenario had its guest do, as evidence and as series."""

from __future__ import annotations

import json

import pytest

from harness.judge import operations
from harness.judge.meminfo import Unit
from harness.judge.operations import Operation

COUNTERS = "op /sys/kernel/debug/rust_shrinker/op counters"


def done(at: float, script: str = "true", output: str = "", status: int | None = 0) -> Operation:
    return Operation(at, 0.5, script, status, output)


def test_operations_come_back_on_the_guests_clock() -> None:
    written = [done(100.0, "true"), done(101.0, "\x00é\udcff", "out", None)]
    document = operations.as_document(written, -95.0)
    back = operations.from_document(json.dumps(document))
    assert [(one.at, one.script, one.status) for one in back] == [
        (5.0, "true", 0),
        (6.0, "\x00é\udcff", None),
    ]


def test_a_flood_keeps_its_beginning_and_its_end() -> None:
    document = operations.as_document([done(at, "x" * 9999, "y" * 9999) for at in range(5000)], 0.0)
    assert len(document) == operations.MOST_OPERATIONS
    assert [document[0]["at"], document[-1]["at"]] == [0, 4999]
    assert len(json.dumps(document)) < operations.MOST_OPERATIONS * 6000


@pytest.mark.parametrize("text", ["", "{}", "[1]", '[{"at": "x"}]', "[" * 100_000, "null", '[{"at": 1}]'])
def test_what_is_no_document_is_nothing(text: str) -> None:
    assert operations.from_document(text) == []


def test_the_least_late_line_tells_the_clocks_apart() -> None:
    lines = [
        (1000.30, b"@sample 5000000000"),
        (1000.42, b"@sample 5400000000"),
        (1001.50, b"@sample 5800000000"),
        (1.0, b"@sample x"),
        (1.0, b"#meminfo"),
    ]
    assert operations.clock_offset(lines) == pytest.approx(-(1000.42 - 5.4))
    assert operations.clock_offset([]) is None


def test_answers_are_series() -> None:
    log = [
        done(1.0, COUNTERS, '{"ok":true,"scan_calls":3,"callers":{"kswapd":2,"name":"x"}}'),
        done(2.0, COUNTERS, "not json"),
        done(3.0, "op /sys/kernel/debug/rust_zpool/op counters", '{"ok":true,"scan_calls":99}'),
        done(4.0, COUNTERS, '{"ok":true,"scan_calls":7,"callers":{"kswapd":5}}'),
    ]
    track = operations.answer_track(log, "rust_shrinker", "scan_calls")
    assert (track.points, track.unit) == (((1.5, 3), (4.5, 7)), Unit.COUNT)
    assert operations.answer_track(log, "rust_shrinker", "callers.kswapd").delta == 3
    with pytest.raises(KeyError, match=r"no sample has callers\.name"):
        operations.answer_track(log, "rust_shrinker", "callers.name")
    with pytest.raises(KeyError):
        operations.answer_track(log, "rust_shrinker", "ok")
