# SPDX-License-Identifier: GPL-2.0-only
"""A guest's counters over time as geometry for inline SVG; the template draws it.

A panel's lines are paths in a box of 1000 by 100 that is stretched to whatever width the page has, so
labels stand beside it as text and stay readable on a phone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

from harness.judge.meminfo import Series, Track, Unit
from harness.report.moments import Moment

WIDTH: Final = 1000
HEIGHT: Final = 100
MOST_POINTS: Final = 400
"""Of one line; more samples are thinned to the extremes of each stretch."""
_LEAST_GAP: Final = 9.0
"""Marks nearer than this, in percent of the width, share one label."""


@dataclass(frozen=True, slots=True)
class Curve:
    """One line of a panel. ``style`` is its number in the panel, from 1."""

    name: str
    style: int
    path: str
    area: str
    """The path, closed along the bottom."""
    told: str
    """Where it began, ended and went, or how much came together."""


@dataclass(frozen=True, slots=True)
class Panel:
    """Curves that share a unit and an axis."""

    title: str
    explains: str
    top: str
    bottom: str
    curves: tuple[Curve, ...]

    @property
    def in_words(self) -> str:
        """For who cannot see it."""
        return "; ".join(f"{curve.name} {curve.told}" for curve in self.curves)


@dataclass(frozen=True, slots=True)
class Mark:
    """A moment's place: ``left`` in percent of the width. ``label`` is empty when another has its label."""

    left: float
    label: str
    moment: Moment
    number: int
    since: float
    """Seconds since the plot's left edge."""


@dataclass(frozen=True, slots=True)
class Plots:
    """All panels of a scenario on one time axis, and what stood still."""

    panels: tuple[Panel, ...]
    marks: tuple[Mark, ...]
    seconds: float
    still: tuple[tuple[str, str], ...]
    """Names and values of what did not move."""
    samples: int


Source = Callable[[Series], Track]


def _meminfo(name: str) -> Source:
    return lambda series: series.meminfo(name)


def _vmstat(name: str) -> Source:
    return lambda series: series.vmstat(name)


def _zswap(name: str) -> Source:
    return lambda series: series.zswap(name)


@dataclass(frozen=True, slots=True)
class _Wanted:
    title: str
    explains: str
    curves: tuple[tuple[str, Source], ...]
    each: bool = False
    """The counter only grows: show how much it grew from one sample to the next."""


_WANTED: Final = (
    _Wanted(
        "Free memory",
        "/proc/meminfo",
        (("MemFree", _meminfo("MemFree")), ("HighFree", _meminfo("HighFree"))),
    ),
    _Wanted(
        "zswap",
        "what is stored, and the memory it takes",
        (
            ("Zswapped", _meminfo("Zswapped")),
            ("Zswap", _meminfo("Zswap")),
            ("pool_total_size", _zswap("pool_total_size")),
        ),
    ),
    _Wanted("Free swap", "/proc/meminfo", (("SwapFree", _meminfo("SwapFree")),)),
    _Wanted(
        "Shrinkers",
        "objects scanned between two samples",
        (("slabs_scanned", _vmstat("slabs_scanned")),),
        each=True,
    ),
    _Wanted(
        "Reclaim",
        "pages taken between two samples",
        (("pgsteal_kswapd", _vmstat("pgsteal_kswapd")), ("pgsteal_direct", _vmstat("pgsteal_direct"))),
        each=True,
    ),
    _Wanted(
        "zswap traffic",
        "pages stored and loaded between two samples",
        (
            ("zswpout", _vmstat("zswpout")),
            ("zswpin", _vmstat("zswpin")),
            ("written_back_pages", _zswap("written_back_pages")),
        ),
        each=True,
    ),
)


def draw(series: Series, moments: Sequence[Moment] = ()) -> Plots | None:
    """The plots of ``series``; None when there are not two samples to draw a line between."""
    if len(series) < 2 or series.seconds <= 0:
        return None
    start = series.samples[0].at
    panels: list[Panel] = []
    still: list[tuple[str, str]] = []
    for wanted in _WANTED:
        tracks = [(name, _each(track) if wanted.each else track) for name, track in _found(wanted, series)]
        moved = [(name, track) for name, track in tracks if track.min != track.max]
        if not wanted.each:
            still += [
                (name, shown(track.last, track.unit)) for name, track in tracks if track.min == track.max
            ]
        if moved:
            panels.append(_panel(wanted, moved, start, series.seconds))
    return Plots(
        tuple(panels),
        tuple(_marks(moments, start, series.seconds)),
        series.seconds,
        tuple(still),
        len(series),
    )


def shown(value: float, unit: Unit) -> str:
    """A number for a person: ``12.5 MiB``, ``3,072 pages``."""
    if unit is Unit.BYTES:
        for name, size in (("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)):
            if abs(value) >= size:
                amount = value / size
                return f"{amount:.0f} {name}" if amount >= 100 else f"{amount:.3g} {name}"
        return f"{value:.0f} B"
    return f"{value:,.0f} pages" if unit is Unit.PAGES else f"{value:,.0f}"


def _found(wanted: _Wanted, series: Series) -> Iterator[tuple[str, Track]]:
    for name, source in wanted.curves:
        try:
            yield name, source(series)
        except KeyError:
            continue


def _each(track: Track) -> Track:
    """How much a counter grew up to each sample; a counter that went back did not grow."""
    grew = [(b, max(after - before, 0)) for (_, before), (b, after) in pairwise(track.points)]
    return Track(track.name, track.unit, ((track.points[0][0], 0), *grew))


def _panel(wanted: _Wanted, tracks: Sequence[tuple[str, Track]], start: float, seconds: float) -> Panel:
    low, high = _range(track for _, track in tracks)
    unit = tracks[0][1].unit
    curves = []
    for style, (name, track) in enumerate(tracks, 1):
        path = _path(track, start, seconds, low, high, steps=wanted.each)
        left = path[1 : path.index(" ")]
        told = _sum(track) if wanted.each else _way(track)
        curves.append(Curve(name, style, path, f"{path}V{HEIGHT}H{left}Z", told))
    return Panel(wanted.title, wanted.explains, _on_axis(high, unit), _on_axis(low, unit), tuple(curves))


def _way(track: Track) -> str:
    first, last, low, high = (
        shown(value, track.unit) for value in (track.first, track.last, track.min, track.max)
    )
    return f"{first} \N{RIGHTWARDS ARROW} {last} (from {low} to {high})"


def _sum(track: Track) -> str:
    return f"{shown(sum(value for _, value in track.points), track.unit)} in all"


def _on_axis(value: float, unit: Unit) -> str:
    return shown(value, Unit.COUNT if unit is Unit.PAGES else unit)


def _range(tracks: Iterable[Track]) -> tuple[float, float]:
    """The axis: from 0, unless that would flatten what happens high above it."""
    values = [value for track in tracks for value in (track.min, track.max)]
    low, high = min(values), max(values)
    return (low, high) if low > 0.5 * high else (min(low, 0), high)


def _path(track: Track, start: float, seconds: float, low: float, high: float, *, steps: bool) -> str:
    points = [
        ((at - start) / seconds * WIDTH, HEIGHT - (value - low) / (high - low) * HEIGHT)
        for at, value in _thinned(track.points)
    ]
    x, y = points[0]
    words = [f"M{x:.1f} {y:.1f}"]
    for x, y in points[1:]:
        words.append(f"V{y:.1f}H{x:.1f}" if steps else f"L{x:.1f} {y:.1f}")
    return "".join(words)


def _thinned(points: Sequence[tuple[float, int]]) -> Sequence[tuple[float, int]]:
    """Of each stretch the least and the greatest, in order: a spike is not lost."""
    if len(points) <= MOST_POINTS:
        return points
    size = -(-len(points) // (MOST_POINTS // 2))
    kept: list[tuple[float, int]] = []
    for begin in range(0, len(points), size):
        stretch = points[begin : begin + size]
        ends = {min(stretch, key=lambda p: p[1]), max(stretch, key=lambda p: p[1])}
        kept += sorted(ends)
    return [points[0], *kept, points[-1]]


def _marks(moments: Sequence[Moment], start: float, seconds: float) -> Iterator[Mark]:
    """Places of the moments, clipped to the plot; labels that would overlap become one (``2-4``)."""
    places = [(min(max((one.at - start) / seconds, 0.0), 1.0) * 100, one) for one in moments]
    groups: list[list[int]] = []
    for index, (left, _) in enumerate(places):
        if groups and left - places[groups[-1][0]][0] < _LEAST_GAP:
            groups[-1].append(index)
        else:
            groups.append([index])
    labels = {
        group[0]: str(group[0] + 1) if len(group) == 1 else f"{group[0] + 1}\N{EN DASH}{group[-1] + 1}"
        for group in groups
    }
    for index, (left, one) in enumerate(places):
        yield Mark(round(left, 2), labels.get(index, ""), one, index + 1, one.at - start)
