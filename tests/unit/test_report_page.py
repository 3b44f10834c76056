# SPDX-License-Identifier: GPL-2.0-only
"""report.html as a file: what is in it, what must not be, and how large it may get."""

from __future__ import annotations

import dataclasses
import json
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest
from report_material import ALL, CRASHED, FAILED, NASTY, PASSED, REPORTS, make_run, samples

from harness.judge.meminfo import Sample, Series, Unit, read_stream
from harness.judge.places import DecodedFrame
from harness.judge.verdict import Result, Verdict
from harness.report import page, plots
from harness.report.evidence import load
from harness.report.matrix import matrix, short_names
from harness.report.moments import Moment, moments, stamp_of
from harness.report.overview import duration, overview
from harness.report.results import Run


class Reader(HTMLParser):
    """The page as a list of tags and the words outside of them."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())


@pytest.fixture(scope="module")
def shown(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("run")
    make_run(folder)
    return page.render(ALL, folder, Run("2026-11-21T14:47:29+00:00", 123.4, "harness run -t all"))


def test_it_says_what_a_person_asks(shown: str) -> None:
    text = Reader(shown).text
    for words in (
        "1 crashed, 1 failed, 1 broken",
        "3 scenarios on 4 targets in 2 min 3 s · 21 November 2026, 14:47 UTC",
        "pages come back as they were",
        "From: zpool v4, 2025-08-23",
        "no high memory here",
        "KASAN: slab-use-after-free Read in bucket_free",
        "<rust_zpool::Bucket>::free modules/rust_zpool/buckets.rs:41",
        "core::ptr::drop_in_place::<rust_zpool::Bucket> core/src/ptr/mod.rs:507 inlined",
        "harness run -t 7.3-x86_64-kasan -k Z06",
        "7.3.4-harness",
        "build id bbd9",
        "console=ttyS0",
        "1f5c",
        "no answer",
    ):
        assert words in text, words


def test_nothing_of_the_guest_becomes_markup(shown: str) -> None:
    tags = Reader(shown).tags
    assert not {tag for tag, _ in tags} & {"script", "img", "iframe", "object", "form", "link"}
    assert not [name for _, attributes in tags for name in attributes if name.startswith("on")]
    assert "{{ 7*7 }}" in Reader(shown).text, "a template in the guest's text ran"
    assert "\x1b" not in shown
    assert "\u202e" not in shown
    assert NASTY[:6] not in shown


def test_it_needs_nothing_from_elsewhere(shown: str) -> None:
    for tag, attributes in Reader(shown).tags:
        for name in ("src", "href", "action"):
            value = attributes.get(name) or ""
            assert not re.match(r"[a-z]+:|//", value), f"<{tag} {name}={value}>"
    assert "url(" not in shown
    assert "@import" not in shown
    assert "default-src 'none'" in shown


def test_places_in_the_page_exist_once_and_links_lead_to_them(shown: str) -> None:
    tags = Reader(shown).tags
    ids = [attributes["id"] for _, attributes in tags if "id" in attributes]
    assert len(ids) == len(set(ids))
    links = {
        str(attributes["href"])[1:]
        for tag, attributes in tags
        if tag == "a" and str(attributes.get("href")).startswith("#")
    }
    assert links
    assert links <= set(ids)
    labels = {str(attributes["aria-labelledby"]) for _, attributes in tags if "aria-labelledby" in attributes}
    assert labels <= set(ids)


def test_a_flood_stays_readable(tmp_path: Path) -> None:
    flood = dataclasses.replace(CRASHED, reports=REPORTS * 500, reason=NASTY * 100, lines=(NASTY,) * 1000)
    make_run(tmp_path, [flood])
    folder = tmp_path / flood.evidence
    (folder / "console.log").write_bytes(b"A" * 3_000_000 + b"\n" * 100_000)
    (folder / "samples.txt").write_bytes(samples(3000))
    operations = [
        {"at": i, "seconds": 1, "script": "x" * 900, "status": 0, "output": ""} for i in range(2000)
    ]
    (folder / "operations.json").write_text(json.dumps(operations))
    assert len(page.render([flood], tmp_path)) < 400_000


@pytest.mark.parametrize(
    "garbage", [b"", b"{", b"[]", b"[" * 100_000, b"\xff\x00", b'{"kernel": 5, "modules": []}', b"[1]"]
)
def test_evidence_that_is_garbage_is_left_out(tmp_path: Path, garbage: bytes) -> None:
    make_run(tmp_path, [CRASHED])
    for path in (tmp_path / CRASHED.evidence).iterdir():
        path.write_bytes(garbage)
    text = page.render([CRASHED], tmp_path)
    assert CRASHED.reason in text
    assert "<figure>" not in text


@pytest.mark.parametrize("where", ["../outside", "/etc", "nowhere", "\x00", "x" * 5000])
def test_evidence_is_looked_for_only_in_the_run(tmp_path: Path, where: str) -> None:
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "console.log").write_text("secret\n")
    (tmp_path / "run").mkdir()
    found = load(tmp_path / "run", dataclasses.replace(PASSED, evidence=where))
    assert (len(found.series), list(found.console), list(found.files)) == (0, [], [])


def test_no_result_and_no_evidence_make_a_page_too(tmp_path: Path) -> None:
    assert "No scenario ran" in page.render([], tmp_path)
    assert "All passed" in page.render([PASSED, dataclasses.replace(PASSED, scenario="Z07")], tmp_path)


def test_what_passed_is_folded_and_what_did_not_is_open(shown: str) -> None:
    cards = {card.split('"')[0]: card for card in shown.split('<article class="card v-')[1:]}
    assert "<details open>" in cards["crashed"]
    assert "<details open>" not in cards["passed"]


def test_the_report_is_marked_in_the_console(shown: str) -> None:
    card = next(card for card in shown.split('<article class="card v-') if card.startswith("crashed"))
    ours = re.findall(r'<span class="ours"><i>(\d+)</i>', card)
    assert [int(number) for number in ours] == list(REPORTS[0].positions)


def test_moments_are_the_telling_ones_in_order(tmp_path: Path) -> None:
    make_run(tmp_path)
    found = moments(CRASHED, load(tmp_path, CRASHED))
    words = [one.words for one in found]
    assert words[:3] == ["load rust_zpool", "swap on", "w: hold 768"], words
    assert sum(word == "w: hold 768" for word in words) == 1, "of several alike only the first"
    assert REPORTS[0].title in words
    assert any(word.startswith("no answer: ") for word in words)
    assert "seeded" not in words
    assert [one.at for one in found] == sorted(one.at for one in found)
    assert len(moments(CRASHED, load(tmp_path, CRASHED), most=3)) == 3


def test_printks_clock_is_set_by_the_begin_mark(tmp_path: Path) -> None:
    make_run(tmp_path, [CRASHED])
    folder = tmp_path / CRASHED.evidence
    begin = {"at": 20.0, "seconds": 0.1, "script": "echo '<6>harness: begin Z06' > /dev/kmsg", "status": 0}
    (folder / "operations.json").write_text(json.dumps([begin | {"output": ""}]))
    (folder / "console.log").write_text("<6>[   12.000113][  T1] harness: begin Z06\n")
    [report] = moments(CRASHED, load(tmp_path, CRASHED), most=1)
    assert report.at == pytest.approx(20.5, abs=0.001), "the report's stamp is 12.500"


def test_the_frame_to_look_at_is_marked(shown: str) -> None:
    view = page.ReportView(REPORTS[0], [DecodedFrame(text) for text in REPORTS[0].stack], ())
    assert view.frames[view.blamed - 1].text.startswith("bucket_free+")
    assert shown.count('class="blamed"') == 1
    assert page.ReportView(REPORTS[0], (), ()).blamed == 0


def test_printk_stamps() -> None:
    assert stamp_of("<4>[    6.313191][   T58] rust_zpool: loading") == 6.313191
    assert stamp_of("[   12.500113] x") == 12.500113
    assert stamp_of("no stamp [1.0]") is None


def drawn(data: bytes) -> plots.Plots:
    found = plots.draw(read_stream(data).series())
    assert found is not None
    return found


def test_plots_show_what_moved_and_name_what_did_not() -> None:
    found = drawn(samples())
    assert [panel.title for panel in found.panels] == ["Free memory", "zswap", "Shrinkers", "Reclaim"]
    assert dict(found.still) == {"SwapFree": "512 MiB"}
    zswap = found.panels[1]
    assert [curve.name for curve in zswap.curves] == ["Zswapped", "Zswap", "pool_total_size"]
    assert (zswap.top, zswap.bottom) == ("5.66 MiB", "0 B")
    assert zswap.curves[1].told == "0 B \N{RIGHTWARDS ARROW} 1.42 MiB (from 0 B to 1.42 MiB)"
    assert zswap.curves[1].path[1:] == zswap.curves[2].path[1:], "meminfo and debugfs agree"
    assert found.panels[2].curves[0].told == "128 in all"
    assert found.panels[3].curves[0].told == "273 pages in all"


def test_a_plot_stays_in_its_box_and_keeps_its_spikes() -> None:
    spike = 1501
    free = [9 << 20 if i == spike else (1 << 20) + i for i in range(3000)]
    series = Series([Sample(i / 10, {"MemFree": value}, {}, {}) for i, value in enumerate(free)])
    found = plots.draw(series)
    assert found is not None
    numbers = [float(number) for number in re.findall(r"-?\d+\.\d", found.panels[0].curves[0].path)]
    places = list(zip(numbers[::2], numbers[1::2], strict=True))
    assert len(places) <= plots.MOST_POINTS + 2
    assert all(0 <= x <= plots.WIDTH and 0 <= y <= plots.HEIGHT for x, y in places)
    assert [x for x, y in places if y == 0.0] == [round(spike / 2999 * plots.WIDTH, 1)]
    assert (places[0][0], places[-1][0]) == (0.0, float(plots.WIDTH))


def test_no_line_without_two_samples() -> None:
    assert plots.draw(Series(())) is None
    assert plots.draw(read_stream(samples(1)).series()) is None


def test_marks_near_each_other_share_a_label() -> None:
    some = [Moment(at, f"at {at}", "step") for at in (1.0, 5.0, 5.1, 5.2, 8.9, 99.0)]
    found = plots.draw(read_stream(samples()).series(), some)
    assert found is not None
    assert [(mark.label, mark.left) for mark in found.marks if mark.label] == [
        ("1\N{EN DASH}4", 0.0),
        ("5\N{EN DASH}6", 100.0),
    ], "before the first sample and behind the last, they stand at the edges"
    assert [mark.number for mark in found.marks] == [1, 2, 3, 4, 5, 6]
    assert [round(mark.since, 1) for mark in found.marks] == [-4.0, 0.0, 0.1, 0.2, 3.9, 94.0]


@pytest.mark.parametrize(
    ("value", "unit", "words"),
    [
        (0, Unit.BYTES, "0 B"), (1536, Unit.BYTES, "1.5 KiB"), (512 << 20, Unit.BYTES, "512 MiB"),
        (3072, Unit.PAGES, "3,072 pages"), (7, Unit.COUNT, "7"),
    ],
)  # fmt: skip
def test_numbers_for_a_person(value: int, unit: Unit, words: str) -> None:
    assert plots.shown(value, unit) == words


def test_durations() -> None:
    assert [duration(s) for s in (0.04, 59.94, 123.4, 3900)] == ["0.0 s", "59.9 s", "2 min 3 s", "1 h 5 min"]


def test_the_matrix_has_every_cell_once() -> None:
    grid = matrix([*ALL, dataclasses.replace(PASSED, verdict=Verdict.BROKEN)])
    assert [row.scenario for row in grid.rows] == ["Z06", "Z38", "S01"]
    assert grid.rows[0].cells["7.3-x86_64"].verdict is Verdict.BROKEN
    assert short_names(grid.targets) == ["x86_64", "arm64", "x86_64-kasan", "arm-highmem"]
    assert short_names(["7.3-x86_64", "6.18-x86_64"]) == ["7.3-x86_64", "6.18-x86_64"]


def test_the_gravest_comes_first() -> None:
    bad: list[Result] = list(overview([FAILED, CRASHED, PASSED]).bad)
    assert [one.verdict for one in bad] == [Verdict.CRASHED, Verdict.FAILED]
