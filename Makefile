# SPDX-License-Identifier: GPL-2.0-only
#
# make run       build a kernel and the modules, run every scenario on x86_64, show the verdicts
# make test      the harness's own tests, and every scenario on every target
# make test-all  the same, whatever TARGETS says
# make check     types, lints and formatting
#
# Both set up what they need, can be interrupted, and go on where they stopped.

PYTHON ?= python3
# The targets of make test: names as harness list has them, or all.
TARGETS ?= all
VENV := .venv
READY := $(VENV)/.ready
BIN := $(VENV)/bin

.PHONY: run test test-all check clean

run: $(READY)
	@$(BIN)/harness run

test: $(READY)
	@$(BIN)/harness build $(TARGETS:%=-t %)
	@$(BIN)/python -m pytest -n auto --maxschedchunk 1 $(TARGETS:%=--target %)

test-all:
	@$(MAKE) --no-print-directory test TARGETS=all

check: $(READY)
	$(BIN)/ruff check harness tests
	$(BIN)/ruff format --check harness tests
	$(BIN)/mypy

clean: $(READY)
	@$(BIN)/harness clean

$(READY): pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "Python 3.11 or later is needed, $(PYTHON) is older: name another with PYTHON=..." >&2; exit 2; }
	@$(PYTHON) -c 'import ensurepip, venv' 2> /dev/null || \
		if [ "$$(id -u)" = 0 ]; then \
			echo "installing python3-venv" >&2; \
			{ apt-get update && apt-get install -y --no-install-recommends python3-venv; } > /dev/null; \
		else \
			echo "Python's venv is missing; install it with: sudo apt-get install python3-venv" >&2; exit 2; \
		fi
	@echo "setting up the virtual environment in $(VENV)" >&2
	@$(PYTHON) -m venv $(VENV)
	@$(BIN)/pip install --quiet --disable-pip-version-check --editable '.[dev]'
	@touch $@
