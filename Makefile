# Everything a newcomer needs: `make run` and `make test`. Both install what is missing
# (Debian packages, a .venv in the checkout) and are quick when it is all there.

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory

VENV := .venv
BIN := $(VENV)/bin
WORKERS ?= 2
PROTOS := $(wildcard vctui/wire/pb/*.proto)

export PIP_DISABLE_PIP_VERSION_CHECK := 1

.PHONY: help run install test check bench fuzz gen picture clean host host-test

help: ## show this list
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):[^#]*## /  make \1\t/' | expand -t 16

run: install ## open the console with a demo pod (a text tour where there is no terminal)
	@exec $(BIN)/vctui demo

install: host $(VENV)/.run ## install what running needs
	@$(BIN)/python -m compileall -q vctui

test: host-test $(VENV)/.dev ## build the guest and run the whole suite, real machines too
	@$(BIN)/python -m compileall -q vctui
	@$(BIN)/vctui guest build
	@folder=$$(mktemp -d -t vctui-tests.XXXXXX); \
	$(BIN)/pytest -n $(WORKERS) --dist loadfile --no-loadscope-reorder --basetemp $$folder/t $(ARGS) \
	  || { echo "what the tests made is in $$folder" >&2; exit 1; }; \
	rm -rf $$folder

check: $(VENV)/.dev ## formatting, lint, types, floors
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports

bench: install $(VENV)/.dev ## measure what the design promises
	@$(BIN)/vctui guest build
	@exec $(BIN)/python -m tests.bench $(ARGS)

fuzz: $(VENV)/.dev ## fuzz every codec, a minute each (ARGS="--seconds 600")
	@$(BIN)/python -c 'import atheris' 2>/dev/null || .ci/venv $(VENV) '.[dev,fuzz]'
	@exec $(BIN)/python -m tests.fuzz $(ARGS)

gen: $(VENV)/.dev ## make what is generated: protocol modules, tables of keys and names
	@$(BIN)/python -m grpc_tools.protoc -I . --python_out=. --pyi_out=. $(PROTOS)
	@$(BIN)/python .ci/gen_tables.py
	@$(BIN)/python .ci/gen_keys.py
	@$(BIN)/python .ci/gen_api.py

picture: install $(VENV)/.dev ## make the README's picture of the console
	@$(BIN)/vctui guest build
	@exec $(BIN)/python .ci/picture.py docs/console.svg

clean: ## remove what was made here (not the pods, not the built guests)
	@rm -rf $(VENV) build dist .mypy_cache .pytest_cache .ruff_cache .hypothesis .import_linter_cache
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +

host:
	@.ci/packages run

host-test:
	@.ci/packages test

$(VENV)/.run: pyproject.toml .ci/venv
	@.ci/venv $(VENV) .
	@touch $@

$(VENV)/.dev: pyproject.toml .ci/venv
	@.ci/venv $(VENV) '.[dev]'
	@touch $(VENV)/.run $@
