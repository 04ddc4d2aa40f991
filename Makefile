# Two commands for a newcomer: `make demo` and `make test`. Each sets up what it needs.
PYTHON ?= python3
BIN = .venv/bin
JAX = .venv-jax/bin
QUIET = --quiet --disable-pip-version-check
export TF_CPP_MIN_LOG_LEVEL ?= 2

.PHONY: demo test test-tensorflow test-jax check bench clean

demo: .venv/light                ## train, evaluate, predict and export on the embedded digits
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

bench: .venv/bench               ## ratios against peers, measured on this machine
	$(BIN)/python benchmarks/training_step.py --precision float32
	$(BIN)/python benchmarks/training_step.py --precision mixed_bfloat16
	$(BIN)/python benchmarks/start.py
	$(BIN)/python benchmarks/input_path.py
	$(BIN)/python benchmarks/scale.py

clean:
	rm -rf .venv .venv-jax demo build dist *.egg-info

.venv/light: setup.py
	$(PYTHON) -m venv .venv
	$(BIN)/pip install $(QUIET) --editable ".[tf-cpu,train]"
	touch $@

.venv/installed: .venv/light
	$(BIN)/pip install $(QUIET) --editable ".[dev]"
	touch $@

.venv/bench: .venv/light
	$(BIN)/pip install $(QUIET) --editable ".[bench]"
	touch $@

.venv-jax/installed: setup.py
	$(PYTHON) -m venv .venv-jax
	$(JAX)/pip install $(QUIET) --editable ".[jax,train]" "pytest>=8" "pytest-xdist>=3.5"
	touch $@
