# SPDX-License-Identifier: GPL-2.0-only
"""How much is free: what /proc/zoneinfo says of the zones' pages and of those that CPUs keep at hand."""

from __future__ import annotations

from harness.drive.memory import free_pages

ZONEINFO = """\
Node 0, zone    DMA32
  per-node stats
      nr_inactive_anon 0
  pages free     55072
        boost    0
        min      498
        protection: (0, 0, 0, 0)
      nr_free_pages 55072
  pagesets
    cpu: 0
              count:    1201
              high:     1500
              batch:    63
              high_min: 498
    cpu: 1
              count:    42
              high:     498
              batch:    63
  vm stats threshold: 12
  node_unreclaimable:  0
  start_pfn:           4096
Node 0, zone  Movable
  pages free     0
  pagesets
    cpu: 0
              count:    7
"""


def test_adds_all_zones_and_cpus() -> None:
    assert free_pages(ZONEINFO) == 55072 + 0 + 1201 + 42 + 7


def test_one_zone() -> None:
    assert free_pages(ZONEINFO, "DMA32") == 55072 + 1201 + 42
    assert free_pages(ZONEINFO, "Movable") == 7
    assert free_pages(ZONEINFO, "HighMem") == 0


def test_a_zone_without_pagesets() -> None:
    assert free_pages("Node 0, zone      DMA\n  pages free     3840\n") == 3840
