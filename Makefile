# make demo    encode and decode a photograph with the installed codec (no PyTorch)
# make test    the tests; make test-slow adds those that take minutes
# make check   style and types
# make bench   seconds and memory beside JPEG, WebP and AVIF
#
# Each target makes its own virtual environment in .venv; all it needs is make and a Python from 3.10 on.

PYTHON ?= $(shell for p in python3 python3.13 python3.12 python3.11 python3.10 python; do \
	$$p -c 'import sys; sys.exit(sys.version_info < (3, 10))' >/dev/null 2>&1 && { echo $$p; break; }; done)
VENV ?= .venv
BIN := $(VENV)/bin
TESTS ?= tests

.PHONY: demo test test-slow check bench clean

demo: $(VENV)/.base
	@$(BIN)/intaglio roundtrip examples/dog.webp -o out/demo.png --keep-itg --overwrite $(DEMO)
	@echo "wrote out/demo.itg and out/demo.png; the original is examples/dog.webp"

test: $(VENV)/.dev
	$(BIN)/python -m pytest $(TESTS)

test-slow: $(VENV)/.dev
	$(BIN)/python -m pytest -m "slow or not slow" $(TESTS)

check: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/mypy

bench: $(VENV)/.base
	$(BIN)/python -m intaglio.bench.speed examples/dog.webp

clean:
	rm -rf $(VENV) out dist build .pytest_cache .mypy_cache .ruff_cache .hypothesis

$(VENV)/.python:
	@test -n "$(PYTHON)" || { echo "no Python from 3.10 on was found; give one with make PYTHON=/path/to/python3" >&2; exit 1; }
	@$(PYTHON) -m venv $(VENV) || { echo "$(PYTHON) cannot make virtual environments; on Debian: apt install python3-venv" >&2; exit 1; }
	@touch $@

$(VENV)/.base: $(VENV)/.python pyproject.toml
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable .
	@touch $@

# The constraints pin torch, so that an index or folder with its CPU build is used where there is one.
$(VENV)/.dev: $(VENV)/.python pyproject.toml constraints.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev]' --constraint constraints.txt
	@touch $@ $(VENV)/.base
