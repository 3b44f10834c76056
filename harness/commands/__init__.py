# SPDX-License-Identifier: GPL-2.0-only
"""What the commands do, in modules that import no more than each needs: a prompt is waiting."""
