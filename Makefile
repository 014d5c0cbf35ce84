# Everything a checkout needs. `make` lists the targets; each installs what is missing first, and nothing the second time.

SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

# A conda environment that has RabbitMQ is used as it is (see environment.yml); otherwise Debian's RabbitMQ and .venv.
CONDA := $(if $(CONDA_PREFIX),$(wildcard $(CONDA_PREFIX)/bin/rabbitmq-server $(CONDA_PREFIX)/sbin/rabbitmq-server))
export VENV := $(if $(CONDA),$(CONDA_PREFIX),.venv)
BIN := $(VENV)/bin

.PHONY: help
help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-19s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: setup
setup: ## Install RabbitMQ (if none is found) and the package with its notebook, sample and test extras
	@scripts/setup notebook,samples,test

.PHONY: setup-test
setup-test:
	@scripts/setup notebook,samples,test postgresql moto chromium nginx

.PHONY: setup-faults
setup-faults:
	@scripts/setup notebook,samples,test postgresql moto chromium nginx faketime netns

.PHONY: setup-lint
setup-lint:
	@scripts/setup notebook,samples,test,lint

.PHONY: demo
demo: setup ## Run the main job on real photographs and flights, in a workbench of its own
	@$(BIN)/workbench demo

.PHONY: lab
lab: setup ## Start a workbench and JupyterLab; the workbench stops when JupyterLab does
	@scripts/lab $(BIN)

.PHONY: test
test: setup-test ## Run the tests but the browser's, against a real RabbitMQ
	@$(BIN)/python -m pytest --ignore tests/browser -n 3 --dist loadfile --no-loadscope-reorder $(ARGS)

.PHONY: browser
browser: setup-test ## Look at the dashboard in a real browser, also for long; screenshots in build/screenshots (ARGS="-m 'not slow' -n 2")
	@$(BIN)/python -m pytest tests/browser tests/unit/test_dashboard_sessions.py -m "" $(ARGS)

.PHONY: faults
faults: setup-faults ## Provoke every fault and write what was measured into docs/reliability.md; takes a while, run it alone
	@$(BIN)/python -m pytest tests/faults -m "" --write-report $(ARGS)

.PHONY: soak
soak: setup-faults ## Only the last of them: ten minutes of tasks under random faults (ARGS="--soak-seconds 90 --soak-seed 7")
	@$(BIN)/python -m pytest tests/faults/test_soak.py -m "" -s $(ARGS)

.PHONY: fuzz
fuzz: setup-test ## Damage messages and values for a minute (ARGS="--seed 7")
	@$(BIN)/python -W error -m tests.security.fuzz --seconds 60 $(ARGS)

.PHONY: large
large: setup-test ## Work on a table of 3 GB in a slot of 1 GB, and search among a million tasks; needs 20 GB of disk, run it alone
	@$(BIN)/python -m pytest tests/integration/test_large.py tests/integration/test_large_tracker.py -m "" -s $(ARGS)

.PHONY: lint
lint: setup-lint ## Check style, types and the direction of imports
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports

.PHONY: benchmark
benchmark: setup ## Measure the throughput of short tasks; run it alone
	@$(BIN)/python benchmarks/throughput.py $(ARGS)

.PHONY: benchmark-dashboard
benchmark-dashboard: setup-test ## Measure what the dashboard costs at 2,000 tasks a second; run it alone (ARGS="--recorded 1000000 --minutes 60")
	@$(BIN)/python benchmarks/dashboard.py $(ARGS)

.PHONY: doctor
doctor: setup ## Say what is installed and what is missing
	@$(BIN)/workbench doctor

.PHONY: clean
clean: ## Remove .venv, caches and the demo's outputs; a workbench's data stays
	@rm -rf .venv build dist *.egg-info workbench-demo .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +
