# Each target sets up what it needs first. `make` alone lists them.

PYTHON ?= $(firstword $(foreach name,python3.11 python3.12 python3.13 python3,$(shell $(name) -c \
	'import sys; print("$(name)") if (3, 11) <= sys.version_info[:2] <= (3, 13) else None' 2>/dev/null)))
BIN := $(abspath .venv/bin)
export PATH := $(BIN):$(PATH)
export PYTHONDONTWRITEBYTECODE := 1
export PYTHONPATH := $(abspath stages)
PROFILE ?= paper

.DEFAULT_GOAL := help
.PHONY: help setup doctor reproduce verify tables tamper reference test test-cpu smoke lint clean

help: ## list these commands
	@grep -E '^[a-zA-Z0-9%-]+:.*## ' $(MAKEFILE_LIST) | sort | awk -F ':.*## ' '{printf "make %-10s %s\n", $$1, $$2}'

setup: .venv/ready ## make the virtual environment .venv from requirements.txt (about 2 minutes)

doctor: .venv/ready ## what this host can support, and how long reproduce will take here (a few seconds)
	@python -m sustainable.tools.doctor

reproduce: .venv/ready ## run the whole pipeline and say where the results lie (95 minutes on 2 cores)
	@if [ "$(PROFILE)" != paper ]; then exec python -m sustainable.tools.profiles $(PROFILE); fi; dvc repro
	@echo
	@echo "report (open in a browser)   paper/report.html"
	@echo "tables and figures           paper/tables/ paper/figures/"
	@echo "claims and their verdicts    paper/claims.json"
	@echo "measured rows                data/benchmark/"
	@if [ -f paper/paper.pdf ]; then echo "paper                        paper/paper.pdf"; fi

verify: .venv/ready ## is this the shipped artifact, and do its claims follow? (5 seconds; RUN=1: and is your run like it?)
	@python -m sustainable.tools.verify $(if $(RUN),--run)

tables: .venv/ready ## the paper's tables and figures again from the shipped rows, in the folder shipped (20 seconds)
	@python stages/report.py --params params.yaml --published paper/published.yaml --templates paper/templates \
		--references paper/references.bib --data data/reference --out shipped --claims shipped/claims.json \
		--summary shipped/benchmark.json

claim-%: .venv/ready ## run what one claim needs, here: make claim-A5 (it says first how long that takes)
	@python -m sustainable.tools.claim $*

tamper: .venv/ready ## forge a copy in 331 ways: does verify see every one? (4 minutes)
	@python -m sustainable.tools.tamper

reference: .venv/ready-dev ## for maintainers: take the present run as the new reference
	@python -m sustainable.tools.reference

test: .venv/ready-dev ## unit tests and the whole pipeline small (about 18 minutes)
	@python -m pytest --numprocesses auto --dist loadgroup

test-cpu: .venv/ready ## do weights agree bit by bit between kinds of CPU? (6 minutes; needs Debian's qemu-user for the emulated ones)
	@python -m sustainable.tools.cpu

smoke: .venv/ready ## the whole pipeline, small, in the folder .smoke (6 minutes): no evidence
	@python -m sustainable.tools.profiles smoke

lint: .venv/ready-dev ## style and types
	@ruff check
	@ruff format --check
	@mypy

clean: ## remove outputs that the pipeline can rebuild (DVC's cache and .venv stay)
	@rm -rf .smoke dvc_plots data/processed data/models data/training data/search data/benchmark data/checkpoints
	@rm -rf paper/tables paper/figures paper/paper.tex paper/paper.pdf paper/report.html

.venv/ready: requirements.txt
	@if [ -z "$(PYTHON)" ]; then echo "make: Python 3.11, 3.12 or 3.13 is needed; install one, or name it: make PYTHON=..." >&2; exit 1; fi
	@echo "setting up .venv with $(PYTHON), a few minutes"
	@$(PYTHON) -m venv .venv
	@python -m pip install -qq --disable-pip-version-check --requirement requirements.txt
	@python -m pip check
	@if [ ! -e .git ]; then dvc config --local core.no_scm true; fi
	@touch $@

.venv/ready-dev: requirements-dev.txt .venv/ready
	@python -m pip install -qq --disable-pip-version-check --requirement requirements-dev.txt
	@touch $@
