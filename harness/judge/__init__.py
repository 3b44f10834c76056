# SPDX-License-Identifier: GPL-2.0-only
"""Read what the kernel said and decide what it means: text in, verdict out. Pure."""
