# make demo    set up .venv and run the example on this machine (no account, no cost)
# make test    set up .venv with the developer tools and run every check (tests side by side: they mostly wait)
# make goldens write the files anew that say what each command prints; review them as a diff
# make clean   remove .venv, builds and caches; run folders stay
#
# Another interpreter: make test PYTHON=python3.12. The environment is made anew when the interpreter or
# pyproject.toml changes, so switching back and forth is safe.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

# The name of the stamp holds the interpreter: another one finds no stamp of its own and sets up again.
INTERPRETER := $(shell $(PYTHON) -c 'import sys, zlib; print(zlib.crc32((sys.base_prefix + sys.version).encode()))' 2>/dev/null)
INSTALLED := $(VENV)/.installed-$(INTERPRETER)
INSTALLED_DEV := $(VENV)/.installed-dev-$(INTERPRETER)

export PIP_DISABLE_PIP_VERSION_CHECK := 1
# The checks start rpd hundreds of times: it should not be compiled each time.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.PHONY: help demo test goldens clean

help:
	@sed -n 's/^# \{0,1\}//p; /^$$/q' Makefile

demo: $(INSTALLED)
	$(BIN)/rpd run --local examples/iris -n 3

test: $(INSTALLED_DEV)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy --strict
	$(BIN)/lint-imports
	$(BIN)/pytest -n 5 --dist loadfile

goldens: $(INSTALLED_DEV)
	$(BIN)/pytest -q tests/golden --snapshot-update
	git diff --stat -- tests/golden

clean:
	rm -rf $(VENV) build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache .rpd_cache
	find . -path ./.git -prune -o -type d -name __pycache__ -prune -exec rm -rf {} +

$(INSTALLED): pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
		echo "rpd needs Python 3.11 or newer; choose one with: make PYTHON=python3.12" >&2; exit 1; }
	@echo "Setting up $(VENV) with $$($(PYTHON) --version): pip downloads the packages, silently, in about a minute ..."
	@$(PYTHON) -m venv --clear $(VENV)
	@$(BIN)/python -m pip install --quiet --upgrade pip
	@$(BIN)/python -m pip install --quiet --editable .
	@touch $@

$(INSTALLED_DEV): $(INSTALLED)
	@echo "Installing the developer tools, silently, in another minute ..."
	@$(BIN)/python -m pip install --quiet --group dev
	@touch $@
