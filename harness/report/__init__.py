# SPDX-License-Identifier: GPL-2.0-only
"""Tell a person or a machine what was found."""
