# Everything a fresh machine needs is done by the target itself: `make demo`, `make test`.
# PYTHON=python3.12 chooses the interpreter; ALGORITHM=magrpo what the demo trains with.

ALGORITHM ?= mappo
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
# The first interpreter that is new enough.
PYTHON ?= $(shell for p in python3 python3.13 python3.12 python3.11; do \
	$$p -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' 2>/dev/null && echo $$p && break; done)

.PHONY: demo test test-slow lint package docs

demo: $(READY)
	$(BIN)/maporl demo --algorithm $(ALGORITHM)

# Two processes of one thread each: more threads on a busy machine make small models many times slower.
test: $(READY)
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist worksteal -m "not slow and not gpu"

test-slow: $(READY)
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -m slow

# The site of docs/, for a browser: build/docs/index.html. A warning is an error.
docs: $(READY)
	$(BIN)/python -m sphinx -W --keep-going -q -d build/doctrees docs build/docs

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# Wheel and sdist as they would be released: what is in them, and whether the wheel works where nothing else is installed.
package: $(READY)
	$(BIN)/python .ci/package.py

$(READY): pyproject.toml constraints.txt
	@test -n "$(PYTHON)" || { echo "maporl needs Python 3.11, 3.12 or 3.13; install one, or: make PYTHON=/path/to/python3.12"; exit 1; }
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --disable-pip-version-check --quiet -c constraints.txt -e '.[dev,docs]'
	touch $@
