# Every target sets up what it needs: a fresh machine needs Python 3.11+ and make, nothing else.
PYTHON ?= python3
unexport PYTHONDONTWRITEBYTECODE  # every command starts faster with compiled sources kept
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready

.PHONY: demo test test-clients lint bench crash clean lock

$(READY): pyproject.toml requirements.lock
	$(PYTHON) -m venv --clear $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-build-isolation --no-deps -e .
	touch $(READY)

demo: $(READY)        ## the main job on the shipped real events
	$(BIN)/python -m segments.demo

test: $(READY)        ## the default tests
	$(BIN)/python -m pytest -n 2

test-clients: $(READY)  ## clients in other languages; downloads them: what lacks java, mvn, node, npm or go is skipped
	mkdir -p .clients
	$(BIN)/python -m pytest -n 2 --dist loadfile -m foreign tests/clients/foreign --junit-xml .clients/results.xml
	$(BIN)/python -m tests.clients.foreign.results .clients/results.xml > tests/clients/foreign/RESULTS.md

lint: $(READY)        ## style, types, import contracts
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: $(READY)       ## every speed question, writes bench/RESULTS.md
	$(BIN)/python -m bench

crash: $(READY)       ## the long crash runs: power cuts, failures and flips everywhere, 500 rounds of kill -9
	CRASH_SURVIVORS=2000 $(BIN)/python -m pytest -n 2 -rP tests/crash | tee .crash.txt | grep -E "states|passed|failed"
	@awk '/states$$/ {count += $$(NF-1)} END {print count " states tried"}' .crash.txt
	$(BIN)/python -m tests.crash.kill --rounds 350
	$(BIN)/python -m tests.crash.kill_upkeep --rounds 150

lock: $(READY)       ## pin the development dependencies anew
	$(BIN)/python -m pip install --quiet pip-tools
	$(BIN)/pip-compile --quiet --extra dev --strip-extras --no-emit-index-url --no-emit-find-links --no-header --allow-unsafe --output-file requirements.lock pyproject.toml

clean:
	rm -rf $(VENV) build dist *.egg-info .demo .bench .mypy_cache .ruff_cache .pytest_cache .hypothesis .crash.txt .clients
