# Two commands do all the set-up: `make demo` and `make test`. Both install what is missing into .venv, once.

PYTHON ?= $(firstword $(shell for name in python3.11 python3.12 python3.13 python3; do command -v $$name; done))
VENV ?= .venv
# Environment of the tools that look at images, charts, workflows and dependencies; nothing of the project runs in it.
TOOLS ?= .tools
# `AUDIT=--strict` fails where advisories cannot be asked for.
AUDIT ?=
# Where torch's CPU build comes from when pip's own index does not have it.
TORCH_INDEX ?= https://download.pytorch.org/whl/cpu
# More words for the demonstration, such as `--results docs/results` or `--seed 1`.
DEMO_ARGS ?=
# Folder with gsm8k_test.jsonl, aqua_dev.jsonl and countdown_train.jsonl, for `make exact`.
DATA ?= ../shared/data
# Whose products and attention `make exact` holds against transformers: RLT_SCORING_MATH, exact or fast.
MATH ?= exact
ITEMS ?= 500
# How long one call of `make experiment-rl` or `make experiment-distill` goes on before it begins nothing new; the same command goes on from there.
MINUTES ?= 90
# `SMOKE=--smoke` runs the whole of `make experiment-distill` at tiny size, apart from the real rows.
SMOKE ?=
# Calls that `make fuzz` draws in all, at least 50 of each operation, and where it begins.
EXAMPLES ?= 10000
SEED ?= 1
# Share of each row's trials that `make chaos`, `bench-scale` and `bench-topology` make, and which rows (all of them where none is named).
SHARE ?= 1
ROWS ?=
# Whose versions `make bench-swap` moves: adapters on the fake engine, adapters on vLLM, a fully trained version on vLLM.
ENGINES ?= fake real full
# Which guards `make guards` takes out (all of them where none is named).
ONLY ?=
# Files with properties, which `make fuzz` tries on more examples.
PROPERTIES = $(shell grep -lE '^@given|^from hypothesis import' -r tests/core tests/tokens tests/service tests/client)
# State of the server, the demo and the tests; nothing is written elsewhere.
export RLT_HOME ?= $(CURDIR)/.rlt
export RLT_TOOLS ?= $(abspath $(TOOLS))

BIN := $(VENV)/bin
PIP := $(BIN)/pip install --disable-pip-version-check
LOCKED := $(VENV)/.installed
TOOLED := $(TOOLS)/.installed

.DEFAULT_GOAL := help
# Three for two cores: many tests wait.
IN_PARALLEL := --numprocesses 3 --dist loadfile --no-loadscope-reorder

.PHONY: help setup up demo docs test check fast slow real fuzz chaos guards exact bench-score bench-explain bench-swap bench-train bench-collect bench-large bench-scale bench-topology experiment-rl experiment-distill tools audit openapi wheel image-steps lock-images lock-tools lint types contracts format lock

help: ## Show what there is
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-10s %s\n", $$1, $$2}'

setup: $(LOCKED) ## Install everything into .venv (demo, up and test do it by themselves)

$(LOCKED): requirements/cpu.lock.txt requirements/torch-cpu.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(0 if sys.version_info >= (3, 11) else "RLT needs Python 3.11 or newer, this is %s: install one and run `make PYTHON=python3.11 $(MAKECMDGOALS)`" % sys.version.split()[0])'
	@echo "[1/4] virtual environment in $(VENV) ($$($(PYTHON) --version))"
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "[2/4] torch, CPU build (about 200 MB; where pip's own index does not have it, from $(TORCH_INDEX))"
	@$(PIP) --no-deps -r requirements/torch-cpu.txt \
		|| { echo "pip's own index did not give it (its reason stands above): trying $(TORCH_INDEX)"; \
			$(PIP) --no-deps --index-url $(TORCH_INDEX) -r requirements/torch-cpu.txt; }
	@echo "[3/4] locked packages, versions and hashes in requirements/cpu.lock.txt (about 2 minutes)"
	@$(BIN)/python .ci/install_progress.py -- $(PIP) --no-deps --require-hashes -r requirements/cpu.lock.txt
	@echo "[4/4] this project"
	@$(PIP) --quiet --no-deps --no-build-isolation -e .
	@touch $@

up: $(LOCKED) ## Start everything on this machine: engine, API, worker, broker (Ctrl-C ends it)
	@$(BIN)/rlt up

demo: $(LOCKED) ## Train a teacher and watch it swap into serving (about 15 minutes on 2 cores)
	@RLT_DEMO_COMMAND="make demo" $(BIN)/python -m rlt_client.demo $(DEMO_ARGS)

docs: $(LOCKED) ## Build the site of the documentation into .rlt/site, strictly, without the net
	@NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict --site-dir $(RLT_HOME)/site
	@echo 'To read it, search included: $(BIN)/python -m http.server 8000 --bind 127.0.0.1 --directory $(RLT_HOME)/site, then http://127.0.0.1:8000'

test: $(LOCKED) lint types contracts fast slow real ## Everything that a submission must pass

check: $(LOCKED) lint types contracts fast ## Format, lint, types, import contracts, fast tests

fast: $(LOCKED) ## The tests on the fake engine (3 minutes)
	@$(BIN)/pytest -m "not real and not processes and not training and not fuzz" $(IN_PARALLEL)

slow: $(LOCKED) ## The tests that start processes (rlt up, brokers, workers, a browser), train a tiny model, or fuzz the contract, without vLLM
	@$(BIN)/pytest -m "processes or training or fuzz" $(IN_PARALLEL)

real: $(LOCKED) ## The tests on real vLLM with SmolLM2-135M
	@$(BIN)/pytest -m real --numprocesses 2 --dist loadfile --no-loadscope-reorder

fuzz: $(LOCKED) ## Fuzz every operation of the contract, then parsers by properties (5 minutes; EXAMPLES=10000, SEED=1)
	@$(BIN)/python -m tests.fuzz --examples $(EXAMPLES) --seed $(SEED) --out docs/results/reliability
	@HYPOTHESIS_PROFILE=fuzz $(BIN)/pytest -m "not real and not processes and not training and not fuzz" $(PROPERTIES) $(IN_PARALLEL)

chaos: $(LOCKED) ## Harm real processes on purpose and write docs/reliability.md (three hours, one of them for `chaos`; ROWS="cancel broker", SHARE=0.1, SEED=1)
	@$(BIN)/python -m benchmarks.reliability --out docs/results/reliability --seed $(SEED) --share $(SHARE) $(if $(ROWS),--rows $(ROWS))

guards: $(LOCKED) ## Take guards out of a copy of the code, one by one, and see their fault tests fail (10 minutes; ONLY="fence outbox")
	@$(BIN)/python -m benchmarks.reliability.guards $(if $(ONLY),--only $(ONLY))

exact: $(LOCKED) ## Hold scores of 500 items against transformers, token by token (30 minutes; needs DATA; MATH=fast, ITEMS=120)
	@$(BIN)/python -m benchmarks.exact --home $(RLT_HOME) --data $(DATA) --math $(MATH) --count $(ITEMS) \
		--out docs/results/$(if $(filter exact,$(MATH)),exact,exact-$(MATH)); \
		found=$$?; $(BIN)/python -m benchmarks.page; exit $$found

bench-score: $(LOCKED) ## Compare /score with vLLM as it comes and with transformers, also what they find (45 minutes)
	@$(BIN)/python -m benchmarks.score --home $(RLT_HOME) --out docs/results/score; found=$$?; \
		$(BIN)/python -m benchmarks.score.table docs/results/score && $(BIN)/python -m benchmarks.page; exit $$found

bench-explain: $(LOCKED) ## Compare /explain with vLLM's own OpenAI server, with and without LoRA (30 minutes)
	@$(BIN)/python -m benchmarks.explain --home $(RLT_HOME) --out docs/results/explain
	@$(BIN)/python -m benchmarks.page

bench-collect: $(LOCKED) ## Compare a collect with a plain script that makes the same calls, by turns (30 minutes)
	@$(BIN)/python -m benchmarks.collect --home $(RLT_HOME) --out docs/results/collect

bench-large: $(LOCKED) ## Upload, list, collect and download a million rows on the fake engine, and watch what each process holds (3 hours; ROWS=20000)
	@$(BIN)/python -m benchmarks.large --rows $(if $(ROWS),$(ROWS),1000000) --out docs/results/large.json

bench-train: $(LOCKED) ## Time one RL step beside TRL's own trainer, which generates and scores in its process (40 minutes)
	@$(BIN)/python -m benchmarks.train --home $(RLT_HOME) --out docs/results/train
	@$(BIN)/python -m benchmarks.page

bench-swap: $(LOCKED) ## Move the served version under load: what fails, what mixes, how long it takes (25 minutes; ENGINES="fake real full")
	@$(BIN)/python -m benchmarks.swap --home $(RLT_HOME) --out docs/results/swap --engines $(ENGINES); \
		found=$$?; $(BIN)/python -m benchmarks.page; $(BIN)/python -m benchmarks.reliability.page; exit $$found

bench-scale: $(LOCKED) ## Measure replicas, queue and event streams without a model, what is missing of it (25 minutes; ROWS="queue sse", SHARE=0.1)
	@$(BIN)/python -m benchmarks.scale --out docs/results/scale --share $(SHARE) $(if $(ROWS),--rows $(ROWS))

bench-topology: $(LOCKED) ## Kill and restart replicas of everything behind nginx, under load (an hour; ROWS="kills rolling", SHARE=0.1, SEED=1)
	@$(BIN)/python -m benchmarks.topology --out docs/results/topology --seed $(SEED) --share $(SHARE) $(if $(ROWS),--rows $(ROWS))

experiment-rl: $(LOCKED) ## Choose a task, train and measure what is left of the arms (docs/decisions/0022; calls of 90 minutes, about 5 hours in all)
	@$(BIN)/python -m benchmarks.experiment all --home $(RLT_HOME) --data $(DATA) --work $(RLT_HOME)/experiment --out docs/results/rl --minutes $(MINUTES)

experiment-distill: $(LOCKED) ## Make students of explanations, measure and reinforce what is left of them (docs/decisions/0028; calls of MINUTES, about 5 hours in all; SMOKE=--smoke tries it)
	@$(BIN)/python -m benchmarks.distillation all --home $(RLT_HOME) --data $(DATA) --work $(RLT_HOME)/distillation --rl-work $(RLT_HOME)/experiment --rl-out docs/results/rl --out docs/results/distil --minutes $(MINUTES) $(SMOKE)

tools: $(TOOLED) ## Install what looks at images, chart, workflows and dependencies into .tools (120 MB); tests of docker/ need it

$(TOOLED): requirements/tools.lock.txt
	@test -x $(TOOLS)/bin/python || $(PYTHON) -m venv $(TOOLS)
	@$(TOOLS)/bin/pip install --disable-pip-version-check --quiet --no-deps --require-hashes -r requirements/tools.lock.txt
	@touch $@

audit: $(LOCKED) $(TOOLED) ## Licences, bills of materials, advisories, code and secrets (4 minutes; AUDIT=--strict)
	@$(BIN)/python -m benchmarks.supply_chain --tools $(TOOLS) --sboms $(RLT_HOME)/sboms --out docs/results/supply-chain.json $(AUDIT)

openapi: $(LOCKED) ## Write docs/openapi.json, at a release; refuses what breaks callers and is not declared (docs/upgrading.md)
	@$(BIN)/python -m tests.support.contract

wheel: $(LOCKED) ## Build the wheel into dist/
	@$(BIN)/python -m hatchling build --target wheel --directory dist

image-steps: $(LOCKED) ## Run the builder stage of docker/Dockerfile.cpu in a folder, without Docker, and what it made (5 minutes)
	@$(BIN)/python -m benchmarks.image_steps docker/Dockerfile.cpu

lint: $(LOCKED)
	@$(BIN)/ruff format --check . && $(BIN)/ruff check .

types: $(LOCKED)
	@$(BIN)/pyright --pythonpath $(BIN)/python

contracts: $(LOCKED)
	@$(BIN)/lint-imports

format: $(LOCKED) ## Format and mend what ruff can
	@$(BIN)/ruff format . && $(BIN)/ruff check --fix .

lock: ## Write requirements/cpu.lock.txt anew (needs uv)
	uv pip compile pyproject.toml requirements/cpu.in --extra serve --extra train --extra cpu --extra dashboard --extra observe --extra dev \
		--override requirements/cpu.overrides.txt --universal --python-version 3.11 --generate-hashes \
		--no-emit-index-url --no-emit-find-links --no-header --output-file requirements/cpu.lock.txt

# Newest versions within pyproject.toml, but those of cpu.lock.txt where they fit: an image runs what was tested.
lock-images: ## Write requirements/image-cpu.lock.txt and image-gpu.lock.txt anew (needs uv)
	@for kind in cpu gpu; do \
		cp requirements/cpu.lock.txt requirements/image-$$kind.lock.txt && \
		uv pip compile pyproject.toml requirements/$$kind.in --extra serve --extra train --extra dashboard --extra observe --extra $$kind \
			--override requirements/$$kind.overrides.txt --python-version 3.11 --python-platform x86_64-manylinux_2_28 \
			--generate-hashes --no-emit-index-url --no-emit-find-links --no-header \
			--output-file requirements/image-$$kind.lock.txt || exit; done

lock-tools: ## Write requirements/tools.lock.txt anew (needs uv)
	uv pip compile requirements/tools.in --universal --python-version 3.11 --generate-hashes \
		--no-emit-index-url --no-header --output-file requirements/tools.lock.txt
