# make demo         see it: trains a small network, runs the quickstart, opens it in JupyterLab
# make test         check everything, in a real browser too: a few minutes
# make soak         what takes longer: random trials for ten minutes, leaks, the whole demo
# make coverage     how much of the package the tests without a browser run
# make test-lowest  the unit tests with the lowest versions that are promised
# make bench        measure: analysis, training, front end
# make reproduce    run the paper's experiments at laptop size (about an hour, resumable)
# make tables       write notebooks/reproduction.md again from kept recordings, untrained
# make gpu          check and measure on a GPU, in minutes; without one it says so
# make docs         the site, in site/
# make check        formatters, linters, types
# make watch        the quickstart in JupyterLab; a change of the front end shows when it is saved
# make hooks        have git run them before every commit
# make setup        only the environment: .venv, js/node_modules, Chromium

PYTHON ?= python3
VENV := .venv
LOWEST := .venv-lowest
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install -qq --no-compile
BUNDLE := fswidget/static/widget.js
MEASURED := $(filter-out benchmarks/history.py,$(wildcard benchmarks/[a-z]*.py))
BENCHMARKS := $(patsubst benchmarks/%.py,benchmarks.%,$(MEASURED)) tests.benchmarks.front
JS := js/package.json $(wildcard js/src/* js/src/*/*)
# A worker more than the two cores of small machines: browsers and kernels are waited for. What a
# file's tests have opened serves all of them.
PARALLEL := --numprocesses 3 --dist loadfile --no-loadscope-reorder
export PYTHON
# Where this is set, as in containers, every process would compile torch again: six seconds each.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: demo test vitest soak coverage test-lowest bench reproduce tables gpu docs check watch hooks setup clean
.DELETE_ON_ERROR:

demo: $(VENV)/.demo $(BUNDLE)
	$(BIN)/python scripts/demo.py

test: setup
	$(MAKE) --jobs 2 check vitest
	$(BIN)/python -m pytest $(or $(PYTEST_ARGS),-q $(PARALLEL))

soak: setup
	$(BIN)/python -m pytest -m soak

coverage: setup
	$(BIN)/python -m pytest -q -m "not browser and not soak" $(PARALLEL) --cov

# In an environment of its own, some gigabytes large; remove $(LOWEST) when it is no longer needed.
test-lowest: $(BUNDLE)
	test -x $(LOWEST)/bin/python || $(PYTHON) -m venv $(LOWEST)
	$(LOWEST)/bin/python -m pip install -qq --upgrade "pip>=25.1"
	$(PYTHON) scripts/lowest.py > $(LOWEST)/requirements.txt
	$(LOWEST)/bin/python -m pip install -qq --no-compile --requirement $(LOWEST)/requirements.txt --group unit
	$(LOWEST)/bin/python -m pytest tests/unit tests/widget tests/structure

check: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	cd js && npm run check

vitest: setup
	cd js && npm test

docs: setup
	$(BIN)/mkdocs build --strict

watch: setup
	cd js && npm run --silent watch & watcher=$$!; trap "kill $$watcher" EXIT; \
	ANYWIDGET_HMR=1 $(BIN)/jupyter lab notebooks/quickstart.ipynb

hooks: setup
	$(BIN)/pre-commit install

bench: setup $(VENV)/.bench
	set -e; for name in $(BENCHMARKS); do $(BIN)/python -m $$name; done

reproduce: $(VENV)/.demo $(BUNDLE)
	$(BIN)/python -m fswidget.reproduction

tables: $(VENV)/.demo
	$(BIN)/python -m fswidget.reproduction --only-write --store notebooks/recordings/runs

gpu: $(VENV)/.test
	$(BIN)/python scripts/gpu.py

setup: $(VENV)/.test $(BUNDLE)

clean:
	rm -rf $(VENV) $(LOWEST) js/node_modules fswidget/static build dist demo artifacts site

# Stamps: what is installed is not installed again.
$(VENV)/.python:
	scripts/need.sh python
	$(PYTHON) -m venv $(VENV)
	$(PIP) --upgrade "pip>=25.1" # the first that knows dependency groups
	$(PIP) torch torchvision
	touch $@

$(VENV)/.demo: pyproject.toml $(VENV)/.python | $(BUNDLE)
	$(PIP) --editable ".[train]" --group demo
	touch $@

$(VENV)/.test: pyproject.toml $(VENV)/.demo
	scripts/need.sh chromium
	$(PIP) --editable ".[train,completion,lightning,transformers,paper]" --group dev
	touch $@

$(VENV)/.bench: pyproject.toml $(VENV)/.test
	$(PIP) --editable ".[train]" --group bench
	touch $@

js/node_modules/.stamp: js/package-lock.json
	scripts/need.sh node
	cd js && npm ci --no-audit --no-fund --loglevel=error
	touch $@

$(BUNDLE): js/node_modules/.stamp $(JS)
	cd js && npm run --silent build
	touch $@
