# make demo       see it: trains a small network, runs the quickstart, opens it in JupyterLab
# make test       check everything, in a real browser too
# make bench      measure: analysis, training, front end
# make reproduce  run the paper's experiments at laptop size (about an hour, resumable)
# make check      formatters, linters, types
# make setup      only the environment: .venv, js/node_modules, Chromium

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install -qq --no-compile
BUNDLE := fswidget/static/widget.js
BENCHMARKS := $(patsubst benchmarks/%.py,benchmarks.%,$(wildcard benchmarks/[a-z]*.py)) tests.benchmarks.front
JS := js/package.json $(wildcard js/src/* js/src/*/*)
export PYTHON

.PHONY: demo test test-browser test-rest bench reproduce check setup clean
.DELETE_ON_ERROR:

demo: $(VENV)/.demo $(BUNDLE)
	$(BIN)/python scripts/demo.py

test: setup check
	cd js && npm test
ifdef PYTEST_ARGS
	$(BIN)/python -m pytest $(PYTEST_ARGS)
else
	$(MAKE) --no-print-directory -j2 test-browser test-rest
endif

# Two processes: a browser waits more than it works.
test-browser:
	$(BIN)/python -m pytest -q -m browser

test-rest:
	$(BIN)/python -m pytest -q -m "not browser"

check: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	cd js && npm run check

bench: setup $(VENV)/.bench
	set -e; for name in $(BENCHMARKS); do $(BIN)/python -m $$name; done

reproduce: $(VENV)/.demo $(BUNDLE)
	$(BIN)/python -m fswidget.reproduction

setup: $(VENV)/.test $(BUNDLE)

clean:
	rm -rf $(VENV) js/node_modules fswidget/static build dist demo artifacts

# Stamps: what is installed is not installed again.
$(VENV)/.python:
	scripts/need.sh python
	$(PYTHON) -m venv $(VENV)
	$(PIP) --upgrade "pip>=25.1" # the first that knows dependency groups
	$(PIP) torch torchvision
	touch $@

$(VENV)/.demo: pyproject.toml $(VENV)/.python | $(BUNDLE)
	$(PIP) --editable . --group demo
	touch $@

$(VENV)/.test: pyproject.toml $(VENV)/.demo
	scripts/need.sh chromium
	$(PIP) --editable ".[lightning,transformers]" --group dev
	touch $@

$(VENV)/.bench: pyproject.toml $(VENV)/.test
	$(PIP) --editable . --group bench
	touch $@

js/node_modules/.stamp: js/package-lock.json
	scripts/need.sh node
	cd js && npm ci --no-audit --no-fund --loglevel=error
	touch $@

$(BUNDLE): js/node_modules/.stamp $(JS)
	cd js && npm run --silent build
	touch $@
