# Every target sets up what it needs: a machine with Python 3.11 to 3.13, pip, venv and make is enough.
OUT ?= runs/demo
PYTHON ?= $(shell for p in python3 python3.13 python3.12 python3.11; do \
	command -v $$p >/dev/null 2>&1 && $$p -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' 2>/dev/null && { echo $$p; break; }; done)
VENV ?= .venv
BIN := $(VENV)/bin
PIP := -m pip --disable-pip-version-check -q

.DEFAULT_GOAL := help
.PHONY: help demo test test-slow test-jax check format docs bench wheel glyphs clean

help:  ## what each target does
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

$(BIN)/.installed: pyproject.toml
	@test -n "$(PYTHON)" || { echo "zoo needs Python 3.11, 3.12 or 3.13; none was found. Say which: make PYTHON=/path/to/python3.12 ..."; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "installing zoo and what it needs into $(VENV) (about a minute) ..."
	@$(BIN)/python $(PIP) install --upgrade pip
	@$(BIN)/python $(PIP) -q install -e ".[dev]"
	@touch $@

demo: $(BIN)/.installed  ## fine-tune glyphs on real handwriting, 10 labels a class, beside training from scratch
	@TF_CPP_MIN_LOG_LEVEL=3 $(BIN)/python benchmarks/few_shot.py --seeds 0 --out $(OUT)

test: $(BIN)/.installed  ## the tests that belong to every change (minutes)
	@TF_CPP_MIN_LOG_LEVEL=3 $(BIN)/python -m pytest -q -n 2 -m "not slow"

test-slow: $(BIN)/.installed  ## the tests that take longer
	@TF_CPP_MIN_LOG_LEVEL=3 $(BIN)/python -m pytest -q -n 2 -m slow

# Without TensorFlow: nothing in layers/ may need it. What it gives on TensorFlow comes in files from the other one.
JAX ?= .venv-jax
$(JAX)/.installed: pyproject.toml
	@test -n "$(PYTHON)" || { echo "zoo needs Python 3.11, 3.12 or 3.13; none was found. Say which: make PYTHON=/path/to/python3.12 ..."; exit 1; }
	@test -x $(JAX)/bin/python || $(PYTHON) -m venv $(JAX)
	@echo "installing Keras and JAX into $(JAX) (about a minute) ..."
	@$(JAX)/bin/python $(PIP) install --upgrade "pip>=25.1"
	@$(JAX)/bin/python $(PIP) install --group jax
	@touch $@

# What wraps or changes a user's network promises to run on any backend too.
ON_JAX := tests/layers/test_contract.py tests/layers/test_contract_of_weights.py tests/layers/test_initializers.py \
	tests/layers/test_default_initializers.py tests/test_unit_variance.py tests/test_starting_point.py \
	tests/test_norm_limits.py tests/test_weight_averaging.py
CONTRACT := build/contract
test-jax: $(BIN)/.installed $(JAX)/.installed  ## the building blocks on JAX, beside what they give on TensorFlow
	@rm -rf $(CONTRACT)
	@KERAS_BACKEND=tensorflow TF_CPP_MIN_LOG_LEVEL=3 $(BIN)/python -m tests.layers.contract $(CONTRACT)
	@KERAS_BACKEND=jax ZOO_CONTRACT=$(CONTRACT) $(JAX)/bin/python -m pytest -q -n 2 $(ON_JAX)

# Neither the type checker nor any other reader of paths can follow the editable install (it goes through an import
# hook), so it is given the package as it is installed: a folder of links with layers/ and models/ in their place.
TYPED := build/typed
check: $(BIN)/.installed  ## style and types
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@rm -rf $(TYPED) && mkdir -p $(TYPED)/zoo && ln -s $(CURDIR)/zoo/* $(CURDIR)/layers $(CURDIR)/models $(TYPED)/zoo/
	@cp pyproject.toml $(TYPED)/
	@cd $(TYPED) && $(CURDIR)/$(BIN)/basedpyright --pythonpath $(CURDIR)/$(BIN)/python

format: $(BIN)/.installed  ## put the code into its form
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .

docs: $(BIN)/.installed  ## build the documentation into docs/_build/html
	@TF_CPP_MIN_LOG_LEVEL=3 $(BIN)/python -m sphinx -W -q -b html docs docs/_build/html
	@echo "open docs/_build/html/index.html"

bench: $(BIN)/.installed  ## the README's table: few labels, five seeds, side by side
	@TF_CPP_MIN_LOG_LEVEL=3 $(BIN)/python benchmarks/few_shot.py --seeds 0 1 2 3 4

wheel: $(BIN)/.installed  ## build the wheel into dist/
	@$(BIN)/python -m build --wheel

glyphs: $(BIN)/.installed  ## train the shipped network again, from its recipe, into runs/glyphs
	@TF_CPP_MIN_LOG_LEVEL=3 $(BIN)/zoo finetune --recipe glyphs --out runs/glyphs
	@$(BIN)/python benchmarks/ship_glyphs.py runs/glyphs --check

clean:  ## remove what was built; runs stay
	rm -rf $(VENV) $(JAX) build dist docs/_build .pytest_cache .ruff_cache .hypothesis *.egg-info
