# Two commands: `make run` sets everything up and runs the main job, `make test` proves it.
PYTHON ?= python3
BIN := .venv/bin
STAMP := .venv/.installed
SHELL := /bin/sh

.PHONY: run test check bench fuzz accuracy install captures chaos interop clean

install: $(STAMP)

$(STAMP): pyproject.toml constraints.txt .ci/system
	@sh .ci/system
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	@touch $@

SHOWN := captures/two_taps-a.pcap captures/two_taps-b.pcap captures/pfc_storm.pcap captures/incast.pcap

# Findings are what the job is for: status 1 is success here, 2 is not. The demo goes on until Ctrl-C; where
# nobody watches it ends once a cause came and went.
run: $(STAMP)
	@$(BIN)/fabric warm
	@$(BIN)/fabric analyze --speed 100G $(SHOWN) || test $$? -eq 1
	@$(BIN)/fabric demo

test: $(STAMP)
	@$(BIN)/fabric warm
	$(BIN)/pytest -n auto --maxprocesses 8 -q

check: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: $(STAMP)
	@$(BIN)/fabric warm
	$(BIN)/python -m benchmarks

# FUZZ_SECONDS=36000 make fuzz runs for ten hours.
FUZZ_SECONDS ?= 600
fuzz: $(STAMP)
	@$(BIN)/fabric warm
	$(BIN)/python -m tests.fuzz --seconds $(FUZZ_SECONDS)

# Kills recorder, committer and compactor with -9 and counts what is left.
KILLS ?= 200
chaos: $(STAMP)
	@$(BIN)/fabric warm
	$(BIN)/python -m tests.chaos --kills $(KILLS)
	FABRIC_KILLS=$(KILLS) $(BIN)/pytest -q -s -n0 --timeout 3600 tests/test_collector_killed.py

# Others' gNMI, in Go: openconfig's fake target and command line client.
GNMI := github.com/openconfig/gnmi
GNMI_VERSION := v0.14.1
interop: $(STAMP)
	GOBIN=$(CURDIR)/.venv/go/bin go install $(GNMI)/cmd/gnmi_cli@$(GNMI_VERSION) $(GNMI)/testing/fake/gnmi/cmd/fake_server@$(GNMI_VERSION)
	FABRIC_INTEROP_BIN=$(CURDIR)/.venv/go/bin $(BIN)/pytest -q -n0 tests/test_interop.py

EVENTS ?= 1000000
# Drawn runs of each class; five are enough to see that it works.
RUNS ?= 125
accuracy: $(STAMP)
	@$(BIN)/fabric warm
	$(BIN)/python -m tests.sequence_accuracy --events $(EVENTS)
	$(BIN)/python -m tests.accuracy.suite --runs $(RUNS) || test $$? -eq 1

captures: $(STAMP)
	$(BIN)/python -m captures.make

clean:
	rm -rf .venv .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis
