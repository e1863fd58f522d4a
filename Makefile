PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
TEST_WORKERS ?= 3
.DEFAULT_GOAL := help
.PHONY: help setup run erp test soak check format bench tour lock clean

help: ## Show what there is
	@grep -E '^[a-z]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):.*## /  make \1\t/' | expand -t 18

setup: $(VENV)/.ready ## Make the environment in .venv

$(VENV)/.ready: requirements.lock pyproject.toml console/build_htmx.py
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Dealwright needs Python 3.11 or newer: make PYTHON=python3.12 …"; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --editable .
	@touch $@

run: setup ## Start everything: engine with UI, database, worker, API, console, sample company
	$(BIN)/dealwright dev $(ARGS)

erp: setup ## Install, prepare and start a real Tryton; Dealwright with it: make run ARGS="--erp tryton"
	$(BIN)/dealwright erp start $(ARGS)

tour: setup ## Play the whole story against a throw-away stack
	$(BIN)/dealwright tour

test: setup ## Pass the tests, several at a time: TEST_WORKERS says how many
	$(BIN)/python -m pytest -n $(TEST_WORKERS) --dist loadscope --no-loadscope-reorder

soak: setup ## The fault tests at full size: 200 rounds, 500 orders
	SOAK=1 $(BIN)/python -m pytest tests/e2e/test_kills.py tests/e2e/test_order_kills.py tests/e2e/test_forgeries.py \
		tests/e2e/test_stack.py tests/e2e/test_doctor.py tests/api/test_customers.py

check: setup ## Format, lint, types, import layers, migrations
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/dealwright migrations

format: setup ## Put the code into its one form
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

bench: setup ## Print the figures, as ratios in one run
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r bench/requirements.lock
	$(BIN)/python -m bench $(AREA)

lock: setup ## Pin the newest versions that pyproject.toml allows
	$(BIN)/python -m pip install --quiet uv
	$(BIN)/uv pip compile --quiet --upgrade pyproject.toml --extra dev --universal --python-version 3.11 \
		--generate-hashes --no-header --no-annotate --output-file requirements.lock
	$(BIN)/uv pip compile --quiet --upgrade bench/requirements.in --universal --python-version 3.11 \
		--constraint requirements.lock --generate-hashes --no-header --no-annotate --output-file bench/requirements.lock

clean: ## Remove the environment and caches
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
