# make demo: a real network to a trained policy, a fair comparison, a bundle and a piece of advice
# make test: the tests; make check: lint and types; make bench: speed; make claims: the README's results again
# make notebooks: open the notebooks in a browser
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

.PHONY: demo test check lint types bench claims notebooks clean

demo: $(STAMP)
	$(BIN)/python -m experiments.demo

test: $(STAMP)
	$(BIN)/python -m pytest -n auto

check: lint types

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports

types: $(STAMP)
	$(BIN)/mypy

bench: $(STAMP)
	$(BIN)/python -m pytest tests/benchmarks -m benchmark --benchmark-only --benchmark-sort=name

claims: $(STAMP)
	$(BIN)/python -m experiments.claims

notebooks: $(STAMP)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[notebooks]'
	PATH="$(abspath $(BIN)):$$PATH" $(BIN)/jupyter lab notebooks

# torch first and alone: its CPU build is what the rest then builds on.
$(STAMP): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' \
	  || { echo "Python 3.11 to 3.13 is needed: install it, or name it with PYTHON=python3.11 make $(MAKECMDGOALS)"; exit 1; }
	@$(PYTHON) -c 'import venv, ensurepip' 2>/dev/null \
	  || { echo "Python's venv module is missing: run 'apt-get install python3-venv' (Debian), then make again"; exit 1; }
	@echo "making the environment in $(VENV) (a few minutes the first time)"
	@$(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check "$$(grep "^torch==" constraints.txt)" \
	  || { echo "torch could not be installed: check the network and the package index, then make again"; exit 1; }
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[dev]' \
	  || { echo "the dependencies could not be installed: check the network and the package index, then make again"; exit 1; }
	@touch $(STAMP)

clean:
	rm -rf $(VENV) build dist *.egg-info
