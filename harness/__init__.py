# SPDX-License-Identifier: GPL-2.0-only
"""Integration tests for Rust kernel modules in memory management, driven through QEMU.

The packages are five rooms in the order in which the data walks through them:
``build`` -> ``boot`` -> ``drive`` -> ``judge`` -> ``report``.
"""
