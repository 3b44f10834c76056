# SPDX-License-Identifier: GPL-2.0-only
"""A run to report on: results and evidence as guests leave them, with text that wants to do harm."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

from harness.judge.dmesg import parse
from harness.judge.places import DecodedFrame, Place
from harness.judge.verdict import Result, Verdict

LOGS = Path(__file__).parent / "logs"
CONSOLE = (LOGS / "x86_64-7.3-kasan.log").read_bytes().partition(b"\n\n")[2]
REPORTS = tuple(parse(CONSOLE))
NASTY = (
    "\x1b[2J\x00 <script>document.title='owned'</script><img src=x onerror=alert(1)> </pre></style>"
    '"onclick="x ]]> {{ 7*7 }} # ``` | [bold]x[/] \udcff é \u202e' + "x" * 300
)
TARGETS = ("7.3-x86_64", "7.3-arm64", "7.3-arm-highmem", "7.3-x86_64-kasan")
MIB = 1 << 20

PASSED = Result(
    "Z06",
    TARGETS[0],
    Verdict.PASSED,
    "",
    1.234,
    f"{TARGETS[0]}/Z06",
    claim="pages come back as they were",
    thread="zpool v4, 2025-08-23",
)
FRAMES = (
    DecodedFrame(
        REPORTS[0].stack[0],
        (
            Place("core::ptr::drop_in_place::<rust_zpool::Bucket>", "core/src/ptr/mod.rs", 507),
            Place("<rust_zpool::Bucket>::free", "modules/rust_zpool/buckets.rs", 41),
        ),
    ),
    *(DecodedFrame(text) for text in REPORTS[0].stack[1:]),
)
CRASHED = dataclasses.replace(
    PASSED,
    target=TARGETS[3],
    verdict=Verdict.CRASHED,
    reason=REPORTS[0].title,
    evidence=f"{TARGETS[3]}/Z06",
    reports=REPORTS,
    decoded=(FRAMES,),
)
IMPOSSIBLE = dataclasses.replace(
    PASSED,
    target=TARGETS[1],
    verdict=Verdict.IMPOSSIBLE,
    reason="no high memory here",
    seconds=0.0,
    evidence="",
)
FAILED = Result(
    "Z38", TARGETS[0], Verdict.FAILED, NASTY, 0.8, f"{TARGETS[0]}/Z38",
    claim=NASTY, thread=NASTY, expected=NASTY, seen=NASTY, lines=(NASTY, "```", "harness: begin Z38"),
)  # fmt: skip
BROKEN = Result("S01", TARGETS[2], Verdict.BROKEN, "the end mark is missing", 30.0, "", lines=("one", "two"))
ALL = [PASSED, IMPOSSIBLE, CRASHED, FAILED, BROKEN]


def samples(count: int = 40) -> bytes:
    """Samples at 10 Hz: MemFree falls, zswap fills, a shrinker scans once, swap stays as it is."""
    parts = []
    for i in range(count):
        stored = max(0, i - 10) * 50
        parts.append(
            f"@sample {5_000_000_000 + i * 100_000_000}\n#meminfo\nMemTotal: 187136 kB\n"
            f"MemFree: {150_000 - i * 3000} kB\nSwapTotal: 524284 kB\nSwapFree: 524284 kB\n"
            f"Zswap: {stored} kB\nZswapped: {stored * 4} kB\n"
            f"#vmstat\nslabs_scanned {0 if i < 20 else 128}\npgsteal_kswapd {i * 7}\npgsteal_direct 0\n"
            f"#zswap\npool_total_size {stored * 1024}\nstored_pages {stored}\n@end\n"
        )
    return (
        "@event 4900000000 seeded\n" + "".join(parts) + f"@event 6500000000 {NASTY[:80]}\n@exit\n"
    ).encode("utf-8", "replace")


OPERATIONS: list[dict[str, object]] = [
    {"at": 5.1, "seconds": 0.2, "script": "modctl load /modules/rust_zpool.ko ", "status": 0, "output": ""},
    {"at": 5.3, "seconds": 0.1, "script": "mkswap /dev/swap && swapon /dev/swap", "status": 0, "output": ""},
    {"at": 5.5, "seconds": 0.1, "script": "pages ask w hold 768", "status": 0, "output": '{"ok":true}'},
    {"at": 5.6, "seconds": 0.1, "script": "pages ask w where", "status": 0, "output": '{"ok":true}'},
    {"at": 5.7, "seconds": 0.1, "script": "pages ask w hold 768", "status": 0, "output": '{"ok":true}'},
    {
        "at": 6.0,
        "seconds": 0.1,
        "script": "op /sys/kernel/debug/rust_zpool/op counters",
        "status": 0,
        "output": '{"ok":true,"pools":{"zswap0":{"live":12,"gone":false}},"creates":1}',
    },
    {"at": 8.0, "seconds": 9.0, "script": f"echo {NASTY}", "status": None, "output": ""},
]


def make_run(folder: Path, results: list[Result] | None = None) -> list[Result]:
    """Lay down the evidence of ``results`` in ``folder``."""
    for result in ALL if results is None else results:
        if not result.evidence:
            continue
        there = folder / result.evidence
        there.mkdir(parents=True)
        (there / "samples.txt").write_bytes(samples())
        (there / "operations.json").write_text(json.dumps(OPERATIONS))
        hostile = NASTY.encode("utf-8", "surrogateescape") + b"\n"
        (there / "console.log").write_bytes(CONSOLE + hostile)
        about = {"kernel": {"release": "7.3.4-harness", "version": NASTY}, "modules": {"rust_zpool": "bbd9"}}
        (there / "about.json").write_text(json.dumps(about))
        (there / "machine.json").write_text(json.dumps({"cmdline": "console=ttyS0", "seed": "1f5c"}))
    return ALL if results is None else results
