# Set-up and checks. Needs make and Python 3.10 or newer with its venv module; everything else goes to .venv.
#   make PYTHON=python3.12 ...          another Python
#   make TORCH=torch==2.11.0 ...        another PyTorch (a requirement or a wheel file); remembered in .venv
SHELL := /bin/sh
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory

PYTHON ?= python3
TORCH_LOCKED := torch==2.13.0
TORCH ?= $(or $(shell cat .venv/torch.txt 2>/dev/null),$(TORCH_LOCKED))
WORKERS ?= 2
ARGS ?=

BIN := .venv/bin
READY := .venv/ready
# One thread for each test worker: they would otherwise fight for the same cores.
PYTEST := OMP_NUM_THREADS=1 MKL_NUM_THREADS=1 $(BIN)/python -m pytest -n $(WORKERS) --no-header -ra --durations=10
# oneDNN chooses its kernels by the processor: some faults are of one kind only, and must be seen on the others too.
AVX2 := -m "not slow" -k "test_memory or test_loop or test_resume or synthetic/tiny" \
	tests/layers/test_memory.py tests/train/test_loop.py tests/train/test_resume.py tests/experiments/test_smoke.py

export PIP_DISABLE_PIP_VERSION_CHECK := 1
export PYTHONUNBUFFERED := 1
export OMP_WAIT_POLICY := PASSIVE
export NO_MKDOCS_2_WARNING := 1

.PHONY: help setup demo test check attack integrations lint bench docs lock clean FORCE

help:  ## print this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: $(READY)  ## create .venv and install everything (the other targets do it when needed)

demo: $(READY)  ## the whole story on made-up people: train, evaluate, search, explain (ARGS="..." is passed on)
	@$(BIN)/partreid demo $(ARGS)

test: lint  ## all checks and all tests
	$(if $(ARGS),,@echo "==> pytest: training as on a processor with AVX2 alone"; ONEDNN_MAX_CPU_ISA=AVX2 $(PYTEST) $(AVX2))
	@echo "==> pytest"; $(PYTEST) $(ARGS)

check: lint  ## all checks and the quick tests
	@echo "==> pytest"; $(PYTEST) -m "not slow" $(ARGS)

attack: $(READY)  ## thousands of bad files at every door, under limits; 20 kills; fuzz (ARGS="-k parquet")
	@PARTREID_ATTACK=1 $(PYTEST) tests/attack tests/bulk/test_job.py tests/serve/test_fuzz.py $(ARGS)

integrations: .venv/trackers/ready  ## drive the real trackers of others (ARGS="SCENES RUN" measures, too)
	@echo "==> pytest"; OMP_NUM_THREADS=1 .venv/trackers/bin/python -m pytest -ra tests/integrations/test_real.py
	$(if $(ARGS),@.venv/trackers/bin/python -m benchmarks.trackers $(ARGS))

# An environment of their own, which sees ours: they bring much that nothing here needs.
.venv/trackers/ready: $(READY) benchmarks/trackers.txt
	@"$(PYTHON)" -m venv .venv/trackers
	@echo "$(CURDIR)/$$(ls -d .venv/lib/python*/site-packages)" > "$$(ls -d .venv/trackers/lib/python*/site-packages)/ours.pth"
	@echo "$(CURDIR)" >> "$$(ls -d .venv/trackers/lib/python*/site-packages)/ours.pth"
	@.venv/trackers/bin/python -m pip install -q -r benchmarks/trackers.txt
	@touch $@

lint: $(READY)  ## ruff and mypy
	@echo "==> ruff"; $(BIN)/ruff check --quiet . && $(BIN)/ruff format --check --quiet .
	@echo "==> mypy"; $(BIN)/mypy partreid

bench: $(READY)  ## how fast matching, re-ranking, loading and labelling are
	@$(BIN)/python -m benchmarks.match
	@$(BIN)/python -m benchmarks.rerank
	@$(BIN)/python -m benchmarks.loading
	@$(BIN)/python -m benchmarks.labels
	@$(BIN)/python -m benchmarks.indexing

docs: $(READY)  ## build the documentation to site/, strictly and without a network
	@$(BIN)/python -m mkdocs build --strict $(ARGS)
	@echo "documentation: site/index.html (with search: $(BIN)/python -m http.server -d site)"

lock: .venv/bin/python  ## resolve all packages anew and write requirements.lock
	@$(BIN)/python tools/lock.py $(TORCH_LOCKED)

clean:  ## remove .venv, caches and build outputs
	rm -rf .venv build dist site .mypy_cache .ruff_cache .pytest_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# --no-compile: Python compiles what is imported at its first import, which takes half the time.
# Order: hashed packages first (PyTorch's own pure-Python needs are among them), then PyTorch, then ourselves.
$(READY): pyproject.toml requirements.lock .venv/torch.txt
	@echo "==> 1/3 packages of requirements.lock, each checked against its hash"
	@$(BIN)/python -m pip install -q --no-compile --require-hashes --no-deps -r requirements.lock
	@echo "==> 2/3 $(TORCH) (the largest part; nothing to do if .venv has it)"
	@$(BIN)/python -m pip install -q --no-compile "$(TORCH)"
	@echo "==> 3/3 partreid itself, editable"
	@$(BIN)/python -m pip install -q --no-deps --no-build-isolation -e .
	@touch $@

# Changes, and so makes the set-up run again, only when another PyTorch is asked for.
.venv/torch.txt: FORCE | .venv/bin/python
	@echo "$(TORCH)" | cmp -s - $@ || echo "$(TORCH)" > $@

.venv/bin/python:
	@command -v "$(PYTHON)" >/dev/null || { echo "No '$(PYTHON)' found. Install Python 3.10 or newer, or name yours: make PYTHON=/path/to/python3"; exit 1; }
	@"$(PYTHON)" -c 'import sys; sys.exit(sys.version_info < (3, 10))' || { echo "Python 3.10 or newer is needed; '$(PYTHON)' is $$("$(PYTHON)" -V 2>&1). Name another: make PYTHON=python3.12"; exit 1; }
	@"$(PYTHON)" -c 'import ensurepip, venv' 2>/dev/null || { echo "'$(PYTHON)' cannot make virtual environments. On Debian or Ubuntu: apt-get install python3-venv"; exit 1; }
	@echo "==> .venv with $$("$(PYTHON)" -V)"
	@"$(PYTHON)" -m venv .venv
