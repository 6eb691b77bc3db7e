# Everything runs from .venv, which is made on first use from the pinned and hashed requirements.
# PYTHON=… chooses the interpreter (3.11 or newer), ARGS="…" goes on to pytest or to the benchmarks.

.DEFAULT_GOAL := help
.NOTPARALLEL:
.PHONY: help run test check lint format types imports chaos fuzz bench drift lock clean

VENV := .venv
BIN := $(VENV)/bin
RUNTIME := $(VENV)/.runtime
DEVELOPMENT := $(VENV)/.development
BENCHMARKS := $(VENV)/.benchmarks
FUZZING := $(VENV)/.fuzzing
PIP_INSTALL := $(BIN)/python -m pip install -qq --disable-pip-version-check --no-deps --no-compile
COMPILE := UV_CUSTOM_COMPILE_COMMAND="make lock" $(BIN)/uv pip compile --quiet --no-config --universal \
	--python-version 3.11 --generate-hashes --no-emit-index-url --no-emit-find-links

CANDIDATES := $(PYTHON) python3 python3.14 python3.13 python3.12 python3.11 python
NEW_ENOUGH := import sys; sys.exit(sys.version_info < (3, 11))

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-8s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

run: $(RUNTIME) ## everything on this machine: embedded Postgres, migrations, all services on PORT (8080)
	@exec $(BIN)/shopbus run

test: $(DEVELOPMENT) ## the whole suite against real Postgres and real RabbitMQ, with all that it needs
	@$(BIN)/pytest --numprocesses 3 --dist loadfile --no-loadscope-reorder $(ARGS)

check: lint types imports test ## what CI runs: formatting, lint, types, import rules, tests

lint: $(DEVELOPMENT) ## formatting and lint rules
	$(BIN)/ruff format --check
	$(BIN)/ruff check

format: $(DEVELOPMENT) ## rewrite the code to the format, and mend what lint can mend itself
	$(BIN)/ruff check --fix-only
	$(BIN)/ruff format

types: $(DEVELOPMENT) ## mypy --strict
	$(BIN)/mypy

imports: $(DEVELOPMENT) ## which package may import which
	$(BIN)/lint-imports --no-cache

chaos: $(DEVELOPMENT) ## the long fault suite, which writes its table to docs/reliability.md (SEED=… repeats a run)
	@CHAOS_REPORT=1 $(BIN)/pytest tests/chaos tests/simulation tests/integration/test_admin_budget_processes.py \
		tests/integration/test_admin_budget_sandbox.py tests/integration/test_backfill_killed.py \
		tests/integration/test_sandbox_bulk.py \
		-m "long or not long" $(ARGS)

fuzz: $(FUZZING) ## made-up bytes for the reading of pixel events, for a minute and more (ARGS=-max_total_time=600)
	@$(BIN)/pytest -q tests/unit/test_pixel_glance.py -m long
	@$(BIN)/python -m tests.fuzz_pixels -max_total_time=60 -max_len=16384 $(ARGS)

ifneq ($(wildcard bench/__main__.py),)
bench: $(BENCHMARKS) ## side-by-side benchmarks: prints a table and writes it to bench/results/ (ARGS="backlog" or ARGS=--short)
	@$(BIN)/python -m bench $(ARGS)
endif

drift: $(DEVELOPMENT) ## a minute of benchmarks: warns where a ratio has moved away from the committed one
	@$(BIN)/python -m bench --drift $(ARGS)

lock: $(DEVELOPMENT) ## compile requirements/*.txt again after a change in pyproject.toml (ARGS=--upgrade for newer versions)
	$(COMPILE) $(ARGS) pyproject.toml -o requirements/runtime.txt
	$(COMPILE) $(ARGS) --group build -o requirements/build.txt
	$(COMPILE) $(ARGS) pyproject.toml --group build --group dev -c requirements/runtime.txt -o requirements/dev.txt
	$(COMPILE) $(ARGS) --group bench -c requirements/dev.txt -o requirements/bench.txt
	$(COMPILE) $(ARGS) --group fuzz -o requirements/fuzz.txt

clean: ## remove what make made; the data in .shopbus stays
	rm -rf $(VENV) .mypy_cache .pytest_cache .ruff_cache .hypothesis .coverage dist
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(BIN)/python:
	@for python in $(CANDIDATES); do \
		if $$python -c '$(NEW_ENOUGH)' 2>/dev/null; then exec $$python -m venv --clear $(VENV); fi; \
	done; echo "shopbus needs Python 3.11 or newer; name one with PYTHON=…" >&2; exit 1

$(RUNTIME): requirements/runtime.txt requirements/build.txt pyproject.toml | $(BIN)/python
	@echo "installing into $(VENV) …"
	@$(PIP_INSTALL) --require-hashes -r requirements/build.txt -r requirements/runtime.txt
	@$(PIP_INSTALL) --no-build-isolation --editable .
	@touch $@

$(DEVELOPMENT): requirements/dev.txt pyproject.toml | $(BIN)/python
	@echo "installing into $(VENV), with the tools of development …"
	@$(PIP_INSTALL) --require-hashes -r requirements/dev.txt
	@$(PIP_INSTALL) --no-build-isolation --editable .
	@touch $(RUNTIME) $@

$(BENCHMARKS): requirements/bench.txt | $(RUNTIME)
	@echo "installing into $(VENV), with the peers of the benchmarks …"
	@$(PIP_INSTALL) --require-hashes -r requirements/bench.txt
	@touch $@

$(FUZZING): requirements/fuzz.txt | $(DEVELOPMENT)
	@echo "installing into $(VENV), with atheris …"
	@$(PIP_INSTALL) --require-hashes -r requirements/fuzz.txt
	@touch $@
