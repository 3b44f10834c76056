# SPDX-License-Identifier: GPL-2.0-only
"""What makes two reports one bug: the detectors that see the same fault, as data, and the fingerprint.

A use after free is a KASAN report on one kernel, a KFENCE report on another and a page fault on a third;
a loop that never ends is found by the soft lockup detector, by RCU or by the hard one, whoever is first.
"""

from __future__ import annotations

from typing import Final

from harness.judge.kinds import Kind

_FREE: Final = ("double-free", "invalid-free", "invalid free", "already free", "double free")

_GROUPS: Final = {
    "bad-access": (
        Kind.KASAN,
        Kind.KFENCE,
        Kind.NULL_DEREF,
        Kind.PAGE_FAULT,
        Kind.GENERAL_PROTECTION,
        Kind.SLUB,
    ),
    "stall": tuple(kind for kind in Kind if kind.is_stall),
    "sleep-in-atomic": (Kind.ATOMIC_SLEEP, Kind.ATOMIC_SCHEDULE),
    "stack-overflow": (Kind.STACK_OVERFLOW, Kind.DOUBLE_FAULT),
}
_GROUP_OF: Final = {kind: group for group, kinds in _GROUPS.items() for kind in kinds}
_BY_FRAME: Final = frozenset({Kind.HUNG_TASK, Kind.OOPS, *_GROUP_OF})
"""Where the frame alone says what the bug is: the rest of the title is one detector's way to put it."""


def fingerprint(kind: Kind, title: str, frame: str | None) -> str:
    """One line that two sightings of one bug share; readable, and stable from build to build."""
    if frame is not None and any(word in title for word in _FREE):
        return f"invalid-free in {frame}"
    if frame is not None and kind is Kind.LOCKDEP and "wait context" in title:
        return f"sleep-in-atomic in {frame}"
    if frame is None or kind not in _BY_FRAME:
        return f"{kind}: {title}"
    return f"{_GROUP_OF.get(kind, kind)} in {frame}"
