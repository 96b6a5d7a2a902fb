PYTHON ?= python3
VENV := .venv
STAMP := $(VENV)/installed

.PHONY: install demo test lint bench docs

install: $(STAMP)

# The package itself goes in last: it is editable, and only its metadata and dependencies matter here.
$(STAMP): pyproject.toml constraints.txt
	test -x $(VENV)/bin/python || $(PYTHON) -m venv $(VENV)
	$(VENV)/bin/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev,train]'
	touch $@

demo: $(STAMP)
	$(VENV)/bin/isofleet demo demo-output

# Three at a time, each file's tests in one process, those that take longest first (tests/conftest.py): most wait for others.
test: $(STAMP)
	$(VENV)/bin/python -m pytest -n 3 --dist loadfile --no-loadscope-reorder --durations 15

lint: $(STAMP)
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/ruff check .
	$(VENV)/bin/mypy

bench: $(STAMP)
	$(VENV)/bin/python -m benchmarks

# What is generated, and what the notebooks' cells say.
docs: $(STAMP)
	$(VENV)/bin/python -m jobs.manual
	$(VENV)/bin/python -m tests.notebooks
