# SPDX-License-Identifier: GPL-2.0-only
"""Put the kernel in a guest under load and observe what it does."""
