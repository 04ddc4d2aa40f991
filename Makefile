# Two commands for a newcomer: `make demo` and `make test`. Each sets up what it needs.
PYTHON ?= python3
BIN = .venv/bin
JAX = .venv-jax/bin
BENCH = $(BIN)/python benchmarks
QUIET = --quiet --disable-pip-version-check
export TF_CPP_MIN_LOG_LEVEL ?= 3

.PHONY: demo test test-tensorflow test-jax check docs bench clean

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

docs: .venv/installed            ## the site, in docs/_build/html
	$(BIN)/python -m sphinx -q -W -b html docs docs/_build/html
	@echo "Look at docs/_build/html/index.html"

bench: .venv/bench               ## ratios against peers, measured on this machine: about four hours
	mkdir -p bench
	$(BENCH)/training_step.py --networks 16-4,40-2,40-1 --precision float32 --json bench/step-float32.json
	$(BENCH)/training_step.py --networks 16-4,40-2,40-1 --json bench/step-bfloat16.json
	$(BENCH)/training_step.py --networks 28-10 --batch_sizes 128,32 --rounds 3 --json bench/step-28-10.json
	$(BENCH)/training_step.py --networks 28-10 --batch_sizes 1 --steps 10 --json bench/step-28-10-one.json
	$(BENCH)/training_step.py --networks 16-4,40-2,40-1 --batch_sizes 32,1 --json bench/step-small-batches.json
	$(BENCH)/inference.py saved_models/wrn-16-4-cifar10 --json bench/inference-16-4.json
	$(BENCH)/inference.py --network 28-10 --batch_sizes 128,32,1 --images_per_round 128 --latency_calls 50 --json bench/inference-28-10.json
	$(BENCH)/inference.py --network 40-2 --json bench/inference-40-2.json
	$(BENCH)/inference.py --network 40-1 --json bench/inference-40-1.json
	$(BENCH)/assess.py saved_models/wrn-16-4-cifar10 --json bench/assess.json
	$(BENCH)/serving.py saved_models/wrn-16-4-cifar10 --json bench/serving.json
	$(BENCH)/serving_faults.py saved_models/wrn-16-4-cifar10 --json bench/serving-faults.json
	$(BENCH)/memory.py --json bench/memory.json
	$(BENCH)/start.py --json bench/start.json
	$(BENCH)/input_path.py --json bench/input-path.json
	$(BENCH)/scale.py --json bench/scale.json
	$(BENCH)/settings.py --json bench/settings.json
	$(BENCH)/variants.py --json bench/variants.json
	$(BIN)/python recipes/reproduce.py figure4 --workdir bench/reproduction --json bench/figure4.json
	$(BENCH)/accuracy_per_flop.py $(dir $(wildcard saved_models/*-cifar10/card.json)) --json bench/accuracy.json

clean:
	rm -rf .venv .venv-jax demo bench docs/_build docs/published build dist *.egg-info

.venv/light: setup.py
	$(PYTHON) -m venv .venv
	$(BIN)/pip install $(QUIET) --editable ".[tf-cpu,train]"
	touch $@

.venv/installed: .venv/light
	$(BIN)/pip install $(QUIET) --editable ".[dev]"
	$(BIN)/pip install $(QUIET) --no-deps tensorflow-serving-api
	touch $@

.venv/bench: .venv/light
	$(BIN)/pip install $(QUIET) --editable ".[bench,engines,serve]"
	$(BIN)/pip install $(QUIET) --no-deps tensorflow-serving-api
	touch $@

.venv-jax/installed: setup.py
	$(PYTHON) -m venv .venv-jax
	$(JAX)/pip install $(QUIET) --editable ".[jax,train]" "pytest>=8" "pytest-xdist>=3.5"
	touch $@
