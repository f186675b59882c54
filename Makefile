# One place for every command; 'make help' explains them. Needs python3 (3.11 or newer) and make; the rest it installs into .venv.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
READY := $(VENV)/.ready
READY_DOCS := $(VENV)/.ready-docs

.DEFAULT_GOAL := help
# Hundreds of tests start a process: none should compile every module anew.
unexport PYTHONDONTWRITEBYTECODE
.PHONY: help demo test test-all checks fmt lint types layers docs unit coverage mutation fault soak real notebooks bench clean

help: ## Show this list
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /  make \1\t/' | expand -t 20

$(INSTALLED): pyproject.toml
	@echo 'Making an environment in $(VENV) ...'
	$(PYTHON) -c 'import sys; sys.exit("eventlake needs Python 3.11 or newer, found " + sys.version.split()[0] if sys.version_info < (3, 11) else 0)'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade 'pip>=25.1'
	$(BIN)/python -m pip install --quiet --editable .
	@touch $@

$(READY): $(INSTALLED)
	@echo 'Installing what the tests need ...'
	$(BIN)/python -m pip install --quiet --group dev
	@touch $@

$(READY_DOCS): $(READY)
	@echo 'Installing what the documentation needs ...'
	$(BIN)/python -m pip install --quiet --group docs
	@touch $@

demo: $(INSTALLED) ## Events -> lake -> training set on two engines -> reproduced by hash
	$(BIN)/eventlake demo demo-lake

test: $(READY_DOCS) ## What every push must pass: the checks, a quick run of the tests, the notebooks
	$(MAKE) --no-print-directory -j 3 checks notebooks
	# A third worker runs while others wait for processes that they started.
	EVENTLAKE_TESTS=quick $(BIN)/pytest -n 3

test-all: checks unit notebooks ## The same with every case, seed and example of the tests

checks: lint types layers docs ## Lint, types, layers, docs

fmt: $(READY) ## Format the code and mend what can be mended
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

lint: $(READY) ## Check style
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .

types: $(READY) ## Check types
	$(BIN)/mypy

layers: $(READY) ## Check that imports point one way
	$(BIN)/lint-imports

docs: $(READY_DOCS) ## Build the documentation into build/site; a warning is an error
	$(BIN)/zensical build --strict --clean

unit: $(READY) ## Run the tests, all of them
	$(BIN)/pytest -n 2

coverage: $(READY) ## Measure which lines and branches the tests run; less than 95 % is an error
	$(BIN)/pytest -n 2 --cov --cov-report=term-missing --cov-report=html:build/coverage

mutation: $(READY) ## Change functions of the core, planned features and appending; show which changes no test notices (about 45 minutes)
	$(BIN)/python tools/mutation.py

fault: $(READY) ## Crashes, races, full disks and failing stores alone
	$(BIN)/pytest tests/fault

soak: $(READY) ## Everything at once, killed at random, for SOAK_SECONDS (600); 10,000 mutants of every stored document
	EVENTLAKE_SOAK_SECONDS=$${SOAK_SECONDS:-600} $(BIN)/pytest tests/soak tests/lake/test_many_commits.py -s -o timeout=0

real: $(READY) ## Load the real Berka data (EVENTLAKE_REAL_DATA) and check it against plain pandas
	$(BIN)/python datasets/berka_loans/load.py
	$(BIN)/pytest tests/real

notebooks: $(READY) ## Run the notebooks from top to bottom
	env -u EVENTLAKE_REAL_DATA $(BIN)/pytest --nbmake -n 2 notebooks

bench: $(READY) ## Measure against the floors, side by side
	$(BIN)/python benchmarks/run.py

clean: ## Remove the environment and everything that was made
	rm -rf $(VENV) demo-lake bench-data .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis .cache build dist
