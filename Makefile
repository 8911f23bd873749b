# The two commands of the README, `make demo` and `make test`, do all the set-up they need by themselves.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

.PHONY: install help demo test check lint types slow browser wheel clean

install: $(STAMP) ## a virtual environment with what is pinned in .ci/constraints.txt

$(STAMP): pyproject.toml .ci/constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet -c .ci/constraints.txt -e '.[dev]'
	touch $@

help: ## this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "make %-9s %s\n", $$1, $$2}' Makefile

demo: install ## train the embedded default: offline, one to two minutes on two CPU cores
	$(BIN)/segtrain name=demo

test: install ## the default test suite
	$(BIN)/python -m pytest -n 2 --dist worksteal --durations=15

check: lint types test ## what CI runs

lint: install ## ruff, and whether all is formatted
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: install ## mypy
	$(BIN)/mypy

slow: install ## proofs that take minutes
	$(BIN)/python -m pytest -m slow

browser: install ## reports, the demo and TensorBoard in headless Chromium, which must be installed
	$(BIN)/python -m pytest -m browser

wheel: install ## dist/segtrain-<version>-py3-none-any.whl
	$(BIN)/python -m build --wheel

clean: ## remove the virtual environment, and what was built or cached
	rm -rf $(VENV) dist build .mypy_cache .ruff_cache .pytest_cache
