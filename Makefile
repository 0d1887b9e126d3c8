# make train | test | test-all | test-jax | test-torch | ui | dist | docs | site | articles | bench | clean       make train PYTHON=python3.12
PYTHON ?= python3
ARGS ?=
PORT ?= 5000
BIN = .venv/bin
# Each process takes a run of tests one after another, whose fixtures are shared, and helps out when it is done.
PYTEST = $(BIN)/python -m pytest --numprocesses=auto --maxprocesses=4 --dist=worksteal

# What each backend does its own way: Keras takes one a process, so these run once on each.
EACH_BACKEND = $(addprefix tests/telemetry/test_,$(addsuffix .py,gradients callbacks models matrix public keras_private)) \
	tests/running/test_checkpoint.py

.PHONY: train test test-all test-tensorflow test-jax test-torch lint ui dist docs site articles bench clean

# Train the default network; more words for train.py: make train ARGS="model.depth=20 activation=sigmoid"
train: .venv/ready
	$(BIN)/python train.py $(ARGS)

# The linters, then every test but the slow ones.
test: .venv/ready lint
	$(PYTEST) -m "not slow"

# Every test, on every backend that is installed.
test-all: lint test-tensorflow test-jax test-torch

test-tensorflow: .venv/ready
	$(PYTEST)

# What runs a few times need not be optimized by XLA for long.
test-jax test-torch: test-%: .venv/ready
	@if $(BIN)/python -c 'import importlib.util, sys; sys.exit(not importlib.util.find_spec("$*"))'; then \
		KERAS_BACKEND=$* \
		XLA_FLAGS="--xla_backend_optimization_level=0 --xla_force_host_platform_device_count=2" \
		$(PYTEST) $(EACH_BACKEND) tests/telemetry/test_recorder_$*.py; \
	else echo "$* is not installed: its tests are left out"; fi

lint: .venv/ready
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/basedpyright

# MLflow's pages over the recorded runs, for this machine alone.
ui: .venv/ready
	@$(BIN)/python -c 'import socket; socket.create_server(("127.0.0.1", $(PORT))).close()' 2> /dev/null || \
		{ echo "port $(PORT) cannot be used, maybe since a server has it: make ui PORT=5001" >&2; exit 1; }
	mkdir -p mlruns
	$(BIN)/python -m zoo.tracking resend --quiet
	$(BIN)/mlflow ui --backend-store-uri sqlite:///$(CURDIR)/mlruns/mlflow.db --host 127.0.0.1 --port $(PORT)

# Source archive and wheel; then the wheel in an environment of its own, outside the checkout, as a user has it.
dist: .venv/ready
	rm -rf dist
	$(BIN)/python -m build --outdir dist .
	$(BIN)/python tests/installed.py dist/*.whl

# The README's picture, and what it shows.
docs: .venv/ready
	$(BIN)/python train.py -m experiment=vanishing epochs=20 \
		remedy=none,activation,batch_norm,residual,residual_batch_norm \
		hydra.sweep.dir=$(CURDIR)/mlruns/sweeps/docs
	cp mlruns/sweeps/docs/comparison.png docs/vanishing.png

# All pages as a site, in English and Chinese, that opens without a server: site/index.html.
site: .venv/ready
	$(BIN)/mkdocs build --strict --quiet
	@echo "open site/index.html"

# The tables of docs/articles.md, measured where they are older than their configs: 950 runs, some 130 minutes of a
# processor. Files instead of Keras' downloads: make articles ARGS="--cifar10 cifar10.npz"
articles: .venv/ready
	$(BIN)/python benchmarks/articles.py $(ARGS)

# The tables of benchmarks/README.md, measured anew, on a machine that does nothing else.
# Files instead of Keras' downloads: make bench ARGS="--mnist mnist.npz --cifar10 cifar10.npz"
bench: .venv/ready
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[dev,jax,torch]'
	$(BIN)/python benchmarks/bench.py $(ARGS)

clean:
	rm -rf .venv dist build site .pytest_cache .ruff_cache

.venv/ready: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "gradient-zoo needs Python 3.11 or newer: make PYTHON=python3.12 ..."; exit 1; }
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[dev]'
	touch $@
