# Two commands for a newcomer: `make demo` and `make test`. Each sets up what it needs.
PYTHON ?= python3
BIN = .venv/bin
JAX = .venv-jax/bin
export TF_CPP_MIN_LOG_LEVEL ?= 2

.PHONY: demo test test-tensorflow test-jax check bench clean

demo: .venv/installed            ## train, evaluate, predict and export on the embedded digits
	$(BIN)/python recipes/digits.py --workdir demo/run
	$(BIN)/keras-wrn evaluate demo/run
	$(BIN)/keras-wrn predict demo/run demo/run/samples/*.png
	$(BIN)/keras-wrn export demo/run demo/serving
	@echo "Look at demo/run/curves.png and demo/run/predictions.png"

test: test-tensorflow test-jax   ## the whole test suite, on both backends

test-tensorflow: .venv/installed
	$(BIN)/python -m pytest -n 2 --dist loadfile

test-jax: .venv-jax/installed    ## where TensorFlow is not installed
	KERAS_BACKEND=jax $(JAX)/python -m pytest -n 2 --dist loadfile

check: .venv/installed           ## lint, format, types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

bench: .venv/installed           ## ratios against peers, measured on this machine
	$(BIN)/python benchmarks/training_step.py

clean:
	rm -rf .venv .venv-jax demo build dist *.egg-info

.venv/installed: setup.py
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --disable-pip-version-check --editable ".[dev]"
	touch $@

.venv-jax/installed: setup.py
	$(PYTHON) -m venv .venv-jax
	$(JAX)/pip install --quiet --disable-pip-version-check --editable ".[jax,train]" "pytest>=8" "pytest-xdist>=3.5"
	touch $@
