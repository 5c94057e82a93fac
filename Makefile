# Each target first sets up what it needs. `make` without a target lists them.

PYTHON ?= $(firstword $(foreach name,python3.11 python3.12 python3.13 python3,$(shell $(name) -c \
	'import sys; print("$(name)") if (3, 11) <= sys.version_info[:2] <= (3, 13) else None' 2>/dev/null)))
BIN := $(CURDIR)/.venv/bin
export PATH := $(BIN):$(PATH)
export PYTHONDONTWRITEBYTECODE := 1
export PYTHONPATH := $(CURDIR)/stages
PROFILE ?= paper
export SUSTAINABLE_ENGINE := $(or $(ENGINE),$(SUSTAINABLE_ENGINE))
READY := .venv/ready $(if $(filter ray,$(SUSTAINABLE_ENGINE)),.venv/ready-ray)

.DEFAULT_GOAL := help
.PHONY: help setup doctor plan assess assess-data recommend reproduce verify tables add-host tamper fuzz reference test test-cpu test-faults smoke lint clean

help: ## list these commands
	@grep -E '^[a-zA-Z0-9%-]+:.*## ' $(MAKEFILE_LIST) | sort | awk -F ':.*## ' '{printf "make %-10s %s\n", $$1, $$2}'

setup: $(READY) ## create the virtual environment .venv from requirements.txt (about 2 minutes; ENGINE=ray: with Ray)

doctor: .venv/ready ## show what this host supports and how long reproduce will take here (a few seconds)
	@python -m sustainable.tools.doctor --profile $(PROFILE)

recommend: .venv/ready ## say what to deploy, from the shipped candidates (FLOOR=0.68 RATE=10 BATCH=1 TASK=weather; a few seconds)
	@python -m sustainable.tools.recommend $(if $(TASK),--task $(TASK)) $(if $(FLOOR),--accuracy-floor $(FLOOR)) \
		$(if $(RATE),--rate $(RATE)) $(if $(BATCH),--batch-size $(BATCH))

plan: .venv/ready ## estimate minutes, core-hours and cost on 1, 10 and 100 nodes (PRICE=0.4: of a node-hour; CORES=16: of a node; a few seconds)
	@python -m sustainable.tools.plan $(if $(PRICE),--price $(PRICE)) $(if $(CORES),--cores $(CORES))

reproduce: $(READY) ## run the whole pipeline and print where the results are (4 to 9 hours on 2 cores, by CPU; STAGES="benchmark_policies": these and what they need; ENGINE=ray RAY_ADDRESS=...: train on a cluster)
	@python -m sustainable.tools.profiles $(PROFILE) $(if $(STAGES),--stages $(STAGES))

assess: .venv/ready ## measure a model of your own: make assess MODEL=net.onnx INPUTS=inputs.npz (about 2 minutes; also TARGET, OUT, RATE, ENVIRONMENT, VARIANTS="a=a.onnx", MORE="--thorough")
	@python -m sustainable.tools.assess $(if $(MODEL),--model "$(MODEL)") $(if $(INPUTS),--inputs "$(INPUTS)") \
		$(if $(TARGET),--target "$(TARGET)") $(if $(OUT),--out "$(OUT)") $(if $(RATE),--rate $(RATE)) \
		$(if $(ENVIRONMENT),--environment "$(ENVIRONMENT)") $(foreach variant,$(VARIANTS),--variant "$(variant)") $(MORE)

assess-data: .venv/ready ## study A's protocol on a daily table of your own: make assess-data CSV=days.csv PROFILE=my.yaml (about 5 minutes on 2 cores; also OUT, MORE="--thorough": hours, for a paper)
	@python -m sustainable.tools.assess_data $(if $(CSV),--csv "$(CSV)") $(if $(filter-out paper,$(PROFILE)),--profile "$(PROFILE)") \
		$(if $(OUT),--out "$(OUT)") $(MORE)

verify: .venv/ready ## check the shipped artifact and its claims (15 seconds; RUN=1: compare your own run with it; EXPECT=...: the root hash you know)
	@python -I -B stages/sustainable/verification/listed.py $(if $(RUN),--run) $(if $(STRICT),--strict) \
		$(if $(EXPECT),--expect "$(EXPECT)")

tables: .venv/ready ## render the paper's tables and figures from the shipped rows into the folder shipped (20 seconds)
	@python stages/report.py --params params.yaml --published paper/published.yaml --templates paper/templates \
		--references paper/references.bib --data data/reference --hosts data/hosts --out shipped \
		--claims shipped/claims.json --summary shipped/benchmark.json --headline shipped/headline.json
	@echo "open shipped/report.html; rules and reasons are in shipped/claims.json"

add-host: .venv/ready ## check the rows of another machine and take them into data/hosts: make add-host FOLDER=... (NAME=...: of the new folder)
	@python -m sustainable.tools.add_host "$(FOLDER)" $(if $(NAME),--name "$(NAME)")

claim-%: .venv/ready ## test one claim on this host: make claim-A5 (it first prints how long that takes)
	@python -m sustainable.tools.claim $*

tamper: .venv/ready ## forge a copy in about 990 ways and check that verify notices each (about 10 minutes)
	@python -m sustainable.tools.tamper

fuzz: .venv/ready ## give every reader 10,000 damaged files: each is read, or refused in one line (COUNT=100: fewer; about 1½ hours)
	@python -m sustainable.tools.fuzz $(if $(COUNT),--count $(COUNT))

reference: .venv/ready-dev ## for maintainers: take the present run as the reference (PAGES=1: only render its pages; LIST=1: only write data/SHA256SUMS; RULES="...": claims with a new rule; STAGES="...": only these)
	@python -m sustainable.tools.reference $(if $(PAGES),--pages $(if $(RULES),--rules $(RULES))) $(if $(STAGES),--stages $(STAGES)) \
		$(if $(LIST),--list)

test: .venv/ready-dev ## run the unit tests and a small version of the whole pipeline (10 to 20 minutes on 2 cores)
	@python -m pytest --numprocesses logical --dist worksteal

test-cpu: .venv/ready ## check that weights agree bit by bit between kinds of CPU (6 minutes; emulated CPUs need Debian's qemu-user)
	@python -m sustainable.tools.cpu

test-faults: .venv/ready ## inject faults: kills, full disks, damaged files and more (about 45 minutes on 2 cores; MORE="--interruptions 30 --seed 2")
	@python -m sustainable.tools.faults $(MORE)

smoke: $(READY) ## run a small version of the whole pipeline in the folder .smoke (6 minutes; not evidence)
	@python -m sustainable.tools.profiles smoke

lint: .venv/ready-dev ## check style and types
	@ruff check
	@ruff format --check
	@mypy

clean: ## remove outputs that the pipeline can rebuild (keeps DVC's cache, .venv, .full, .claims, shipped and the assess folders)
	@rm -rf .smoke dvc_plots data/processed data/models data/training data/policies data/search data/benchmark
	@rm -rf data/checkpoints paper/tables paper/figures paper/paper.tex paper/paper.pdf paper/report.html

.venv/ready: requirements.txt
	@if [ -z "$(PYTHON)" ]; then echo "make: Python 3.11, 3.12 or 3.13 is needed; install one, or name it: make PYTHON=..." >&2; exit 1; fi
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' || \
		{ echo "make: PYTHON=$(PYTHON) is not Python 3.11, 3.12 or 3.13; name one that is" >&2; exit 1; }
	@echo "setting up .venv with $(PYTHON), a few minutes"
	@$(PYTHON) -m venv .venv
	@python -m pip install -qq --disable-pip-version-check --requirement requirements.txt
	@python -m pip check
	@echo "$(CURDIR)/stages" > "$$(python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')/sustainable.pth"
	@touch $@

# In an unpacked archive DVC would ask for git.
ifeq ($(wildcard .git),)
.venv/ready: | .dvc/config.local
.dvc/config.local:
	@printf '[core]\n    no_scm = true\n' > $@
endif

.venv/ready-ray: requirements-ray.txt .venv/ready
	@python -m pip install -qq --disable-pip-version-check --requirement requirements-ray.txt
	@touch $@

.venv/ready-dev: requirements-dev.txt .venv/ready
	@python -m pip install -qq --disable-pip-version-check --requirement requirements-dev.txt
	@touch $@
