# Every target sets up what it needs: a fresh machine needs Python 3.11+ and make, nothing else.
PYTHON ?= python3
unexport PYTHONDONTWRITEBYTECODE  # every command starts faster with compiled sources kept
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
PYTEST := $(BIN)/python -m pytest -n 3  # of two cores: one waits for its disk
# Tests that start no process and wait for none: what to run between two edits.
QUICK := $(addprefix tests/,records storage broker coordinator protocols server upkeep properties library)

.DEFAULT_GOAL := help
.PHONY: help demo quick test test-all test-page test-clients test-cluster cluster-kill lint docs reference bench crash transactions-kill clean lock wheels dist dist-try release-notes

help:                 ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-14s %s\n", $$1, $$2}' Makefile

# checkout.pth: for a program beside a clone named logstore, that folder is no package.
$(READY): pyproject.toml requirements.lock
	@echo "installing logstore and what it needs into $(VENV): about a minute"
	$(PYTHON) -m venv --clear $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-build-isolation --no-deps -e .
	@cd $(VENV)/lib/python3*/site-packages && echo '$(CURDIR)' > checkout.pth
	touch $(READY)

demo: $(READY)        ## show the main features on real events
	$(BIN)/python -m segments.demo

quick: $(READY)       ## test what runs in one process: under a minute, between two edits
	$(PYTEST) $(QUICK)

test: $(READY)        ## run the default tests: under two minutes, before a commit
	$(PYTEST)

test-all: $(READY)    ## run the rest of the tests that a change must pass
	$(PYTEST) -m "(long or hypothesis) and not foreign and not brokers and not nodes" --hypothesis-profile all

test-page: $(READY)    ## test the page in a browser; skips it where chromium, node or npm is missing
	$(PYTEST) --dist loadfile -m foreign tests/page

test-clients: $(READY)  ## test clients in other languages; skips those for which java, mvn, node, npm, go or cargo is missing
	mkdir -p .clients
	$(PYTEST) -m foreign tests/clients/test_rabbit_same.py
	$(PYTEST) --dist loadfile -m foreign tests/clients/foreign --junit-xml .clients/results.xml
	$(BIN)/python -m tests.clients.foreign.results .clients/results.xml > tests/clients/foreign/RESULTS.md

test-cluster: $(READY)  ## test nodes of a cluster, also over three Kafka brokers of its own; skips those where java or Kafka's jars are missing
	$(BIN)/python -m pytest -n 0 -m nodes tests/nodes
	$(BIN)/python -m pytest -n 0 -m brokers tests/brokers

cluster-kill: $(READY)  ## kill nodes and brokers of a cluster in random order under load, 20 rounds
	PYTHONPATH=tests/kit $(BIN)/python -m tests.brokers.kill --rounds 20

lint: $(READY) docs   ## check style, types, import contracts and the links of the pages
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

docs: $(READY)        ## build the site of the pages into build/site; a link that leads nowhere is an error
	$(BIN)/mkdocs build --strict --quiet

reference: $(READY)   ## write the pages of settings and commands anew, from the code
	$(BIN)/python tests/docs/test_reference.py --write

bench: $(READY)       ## answer every speed question; writes bench/RESULTS.md
	$(BIN)/python -m bench

crash: $(READY)       ## run the long crash tests: power cuts, failures and flips everywhere, 950 rounds of kill -9
	CRASH_SURVIVORS=2000 $(PYTEST) -m "not foreign" -rP tests/crash | tee .crash.txt | grep -E "states|passed|failed"
	@awk '/states$$/ {count += $$(NF-1)} END {print count " states tried"}' .crash.txt
	$(BIN)/python -m tests.crash.kill --rounds 250
	$(BIN)/python -m tests.crash.kill_upkeep --rounds 150
	$(BIN)/python -m tests.crash.kill_queues --rounds 100
	$(BIN)/python -m tests.crash.kill_policies --rounds 50
	$(BIN)/python -m tests.crash.kill_aio --rounds 50
	$(BIN)/python -m tests.crash.kill_once --rounds 50
	$(BIN)/python -m tests.crash.kill_replay --rounds 25
	$(BIN)/python -m tests.crash.kill_routes --rounds 25
	$(BIN)/python -m tests.crash.kill_keys --rounds 25
	$(BIN)/python -m tests.crash.kill_schedules --rounds 25
	$(BIN)/python -m tests.crash.kill_mqtt_kept --rounds 25
	$(BIN)/python -m tests.crash.kill_mqtt --rounds 50
	$(BIN)/python -m tests.crash.kill_exact --rounds 50
	$(BIN)/python -m tests.crash.kill_stomp --rounds 25
	$(BIN)/python -m tests.crash.kill_transactions --rounds 50

transactions-kill: $(READY)  ## kill -9 while Kafka clients have transactions; ROUNDS=200 SEED=7
	$(BIN)/python -m tests.crash.kill_transactions --rounds $(or $(ROUNDS),50) $(if $(SEED),--seed $(SEED))

lock: $(READY)        ## pin the development dependencies anew
	$(BIN)/python -m pip install --quiet pip-tools
	$(BIN)/pip-compile --quiet --extra dev --strip-extras --no-emit-index-url --no-emit-find-links --no-header --allow-unsafe --output-file requirements.lock pyproject.toml

wheels: $(READY)      ## list the systems and Pythons for which all dependencies have wheels
	$(BIN)/python deploy/wheels.py

dist: $(READY)        ## build the wheel and the source distribution into dist/, and check both
	rm -rf dist
	$(BIN)/python -m build --no-isolation --config-setting=--global-option=--quiet --outdir dist
	$(BIN)/twine check --strict dist/*
	$(BIN)/python -m tests.packaging.built dist

dist-try: dist        ## install that wheel into a fresh environment, and use it there
	$(BIN)/python -m tests.packaging.fresh dist

release-notes: $(READY)  ## write what TAG=v1.2.3 says of itself; fails if version or changelog say otherwise
	$(BIN)/python -m tests.packaging.notes $(or $(TAG),none) > release-notes.md

clean:                ## remove everything that was built
	rm -rf $(VENV) build dist *.egg-info .demo .bench .mypy_cache .ruff_cache .pytest_cache .hypothesis .crash.txt .clients release-notes.md
