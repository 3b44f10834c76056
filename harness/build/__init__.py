# SPDX-License-Identifier: GPL-2.0-only
"""Turn a kernel tree, a configuration and module sources into an image and .ko files, cached by content."""
