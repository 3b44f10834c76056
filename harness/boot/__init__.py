# SPDX-License-Identifier: GPL-2.0-only
"""Turn an image into a running guest: QEMU, templates and clones, the three channels."""
