# From a bare Python 3.11: `make demo` and `make test` make .venv, install the locked versions and run.
# PYTHON=... names another interpreter of the 3.11 series; the lock's hashes hold for that series.

PYTHON ?= python3.11
BIN := .venv/bin
STAMP := .venv/.installed
# Files in the order that tests/conftest.py gives them, not by how many tests they have: those of few long tests first.
PYTEST_FLAGS ?= -n 2 --dist loadfile --no-loadscope-reorder

# Nothing calls home (pipelines/environment.py says the same to whoever runs lethe without make).
export DO_NOT_TRACK = true
export GX_ANALYTICS_ENABLED = false
export HF_HUB_DISABLE_TELEMETRY = 1
export MLFLOW_DISABLE_TELEMETRY = true
export PREFECT_SERVER_ANALYTICS_ENABLED = false
export PREFECT_SERVER_UI_SHOW_PROMOTIONAL_CONTENT = false
export PREFECT_SERVER_UI_V2_ENABLED = false
export RAY_USAGE_STATS_ENABLED = 0

.PHONY: venv demo test test-slow lint types bench docs verifier attacks methods lock clean

venv: $(STAMP)

# The locked libraries first, so that torch finds its own requirements met and pip fetches torch alone.
$(STAMP): requirements.lock torch.lock pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11) and "Python 3.11 is needed: make PYTHON=/path/to/python3.11")'
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --require-hashes --no-deps -r requirements.lock
	$(BIN)/python -m pip install --quiet -r torch.lock
	$(BIN)/python -m pip install --quiet --no-deps --no-build-isolation -e .
	$(BIN)/python -m pip check
	touch $@

demo: $(STAMP)
	$(BIN)/lethe demo

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports

types: $(STAMP)
	$(BIN)/mypy

test: lint types
	$(BIN)/pytest $(PYTEST_FLAGS)

test-slow: $(STAMP)
	$(BIN)/pytest -m slow $(PYTEST_FLAGS)

bench: $(STAMP)
	@$(BIN)/python -m bench

# The command reference and the schemas of the statements, drawn from the program itself.
docs: $(STAMP)
	PYTHONPATH=. $(BIN)/python -m typer flows.cli utils docs --name lethe --title "The lethe command" --output docs/cli.md
	$(BIN)/python -m pipelines.audit.schema docs/schemas

# The verifier in one file: it needs Python 3.11 or later and nothing else.
verifier: $(STAMP)
	$(BIN)/python deployments/verifier.py dist/lethe-verify.pyz

# Every method once on the demo world, and the table of what came of it. Minutes; killed, it goes on where it was.
methods: $(STAMP)
	$(BIN)/lethe compare --budget once --report docs/methods.md || test $$? -eq 3

# Every attack by name, then 10,000 mutations of an evidence archive and how many were accepted.
attacks: $(STAMP)
	$(BIN)/pytest $(PYTEST_FLAGS) tests/attacks
	$(BIN)/python -m tests.attacks.mutations 10000

lock: $(STAMP)
	$(BIN)/python deployments/lock.py requirements.lock

clean:
	rm -rf .venv .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis build dist
