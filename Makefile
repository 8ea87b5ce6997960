# Two commands on a fresh machine: `make demo` and `make test`. Everything they need they set up themselves.
# Set-up happens once; the second time it does nothing. Needs Python 3.11 to 3.13 and, for `make test-servers`, npm.

PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
# Tools of the project, whatever is installed elsewhere.
export PATH := $(CURDIR)/$(BIN):$(PATH)
# Each worker of the tests and each server they start reads what the first has compiled, also where images forbid it.
unexport PYTHONDONTWRITEBYTECODE

CODE := framework tests benchmarks demo scripts deploy apps

.DEFAULT_GOAL := help
.PHONY: help demo rehearse test test-slow check check-infra format bench docs pictures protos test-servers clean

help: ## Show what can be made
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 16

$(VENV)/.created:
	@$(PYTHON) -c 'import sys; v = sys.version_info[:2]; sys.exit(0 if (3, 11) <= v < (3, 14) else f"Python 3.11 to 3.13 is needed, {sys.executable} is {v[0]}.{v[1]}: make PYTHON=/path/to/python3.12")'
	@echo "── creating $(VENV)"
	@$(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --upgrade pip
	@touch $@

$(VENV)/.demo: $(VENV)/.created pyproject.toml constraints.txt
	@echo "── installing Bedside (about 1.5 GB with torch and MONAI; a few minutes)"
	@$(BIN)/python -m pip install --disable-pip-version-check -c constraints.txt -e '.[demo]' | grep -vE '^(Requirement already|Looking in)' || true
	@$(BIN)/bedside --version
	@touch $@

$(VENV)/.dev: $(VENV)/.demo
	@echo "── installing what the tests and checks use"
	@$(BIN)/python -m pip install --disable-pip-version-check -c constraints.txt -e '.[dev]' | grep -vE '^(Requirement already|Looking in)' || true
	@$(BIN)/pytest --version
	@touch $@

demo: $(VENV)/.demo ## Serve the bundles in apps/, send them real input, keep the answers (ONCE=1: then exit)
	@python demo/run.py $(if $(ONCE),--once,) $(DEMO_OPTIONS)

# In the order of the folders: files that start servers come first, the many short ones of tests/unit fill the end.
# Tracing branches costs half as much again as the tests, so only who asks for the figure pays for it.
test: $(VENV)/.dev ## Run every test but the slow ones (COVERAGE=1: and measure branches; below 95 % fails)
	@pytest -n auto --dist loadfile --no-loadscope-reorder -m 'not slow' $(if $(COVERAGE),--cov --cov-report=term:skip-covered --cov-fail-under=95) $(PYTEST_OPTIONS)

# Those that compare times come last, by themselves; status 5 says that there are none among PYTEST_OPTIONS.
test-slow: $(VENV)/.dev ## Run the slow tests (load, soak, fuzz at length)
	@pytest -n auto --dist loadfile --no-loadscope-reorder -m 'slow and not alone' $(PYTEST_OPTIONS) || [ $$? = 5 ]
	@pytest -m alone $(PYTEST_OPTIONS) || [ $$? = 5 ]

check: $(VENV)/.dev ## Lint, types, import contracts, documentation, workflows
	@ruff check $(CODE)
	@ruff format --check $(CODE)
	@mypy
	@lint-imports
	@python scripts/docs.py --check
	@python scripts/protos.py --check
	@zizmor --offline --quiet --persona=pedantic .github

check-infra: ## Manifests, images and workflows, and Terraform, without a cluster (INFRA_OPTIONS="--mutations")
	@PYTHON=$(PYTHON) deploy/k8s/validate.sh
	@infra/terraform/validate.sh $(INFRA_OPTIONS)

format: $(VENV)/.dev ## Format and mend what can be mended
	@ruff check --fix $(CODE)
	@ruff format $(CODE)

docs: $(VENV)/.dev ## Write the generated parts of docs/ and README.md
	@python scripts/docs.py

pictures: $(VENV)/.dev ## Draw the pictures of docs/images
	@python -m scripts.pictures

rehearse: $(VENV)/.dev ## Rehearse a delivery here, from git push to HTTPS (FAULTS=1: bad bundles too)
	@python deploy/rehearse $(if $(FAULTS),--faults --write docs/rehearsal.md)

protos: $(VENV)/.dev ## Write the gRPC descriptors from the .proto files
	@python scripts/protos.py

bench: $(VENV)/.dev ## Measure against the budgets (docs/benchmarks.md)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[bench]'
	@python -m benchmarks $(BENCH_OPTIONS)

test-servers: $(VENV)/.created ## Install the real servers that integration tests talk to
	@scripts/install_test_servers.sh

clean: ## Remove what make made
	@rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis .coverage* htmlcov demo-output

$(VENV)/.ship: $(VENV)/.demo
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[ship]'
	@touch $@

.PHONY: install
install: $(VENV)/.ship ## Install Bedside into .venv as a pipeline needs it, and nothing else
