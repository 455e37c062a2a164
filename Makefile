# Paths are relative: the folder of the clone may have any name.
# `make demo` and `make test` are the whole set-up: the first use of any target makes .venv.
# Needs python 3.11 or newer (with venv), g++, make and perl; nothing is installed outside this folder.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
PACKAGES := sim hw cosim host model cli
# Two test processes fill the smallest machine this is meant for; numba and torch must not add threads of their own.
TEST_JOBS ?= 2
SINGLE_THREAD := OMP_NUM_THREADS=1 NUMBA_NUM_THREADS=1

# The same tests on the vector units of a 2009 processor, for what must not depend on them (docs/reference.md).
# torch's own compiler writes vector code for it all the same, which does not compile: that test is left out.
OLD_PROCESSOR := OPENBLAS_CORETYPE=Nehalem NPY_DISABLE_CPU_FEATURES="X86_V3 X86_V4 AVX512_ICL AVX512_SPR" \
	ATEN_CPU_CAPABILITY=default NUMBA_CPU_NAME=nehalem NUMBA_CPU_FEATURES=

.PHONY: demo test test-old-processor lint types pytest timing refit bench clean
.DELETE_ON_ERROR:

demo: $(STAMP)
	$(BIN)/bivit demo --out out/demo

test: lint types pytest

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

# mypy names modules after the folder that holds them; the link gives the root its package name whatever the clone is called.
types: $(STAMP)
	mkdir -p $(VENV)/src
	ln -sfn "$$PWD" $(VENV)/src/bivit
	MYPYPATH=$(VENV)/src $(BIN)/mypy $(addprefix -p bivit.,$(PACKAGES))

pytest: $(STAMP)
	$(SINGLE_THREAD) $(BIN)/python -m pytest -n $(TEST_JOBS) --dist worksteal --durations 10

test-old-processor: $(STAMP)
	$(OLD_PROCESSOR) $(SINGLE_THREAD) $(BIN)/python -m pytest -n $(TEST_JOBS) --dist worksteal \
		--deselect 'tests/model/train/test_train.py::test_precisions_and_compilation_learn[bf16-True]'

# Hours: the clocks of all units, into docs/timing.json, docs/timing.md and the device table.
timing: $(STAMP)
	$(SINGLE_THREAD) $(BIN)/python -m bivit.hw.synthesis.timing_page measure --jobs $(TEST_JOBS)

# Weights of the estimates from docs/synthesis.json, and every page and test file that shows estimates.
refit: $(STAMP)
	$(BIN)/python -m bivit.hw.synthesis.calibrate fit
	$(BIN)/python -m bivit.hw.accuracy.page
	$(BIN)/python -m bivit.cli.pages.comparison
	$(BIN)/python tests/tools/frozen.py

bench: $(STAMP)
	$(BIN)/bivit bench --out out/bench
	$(BIN)/python examples/bench.py
	$(BIN)/python examples/bench_generation.py
	$(BIN)/python examples/bench_cycles.py
	$(BIN)/python examples/bench_training.py

clean:
	rm -rf $(VENV) out build *.egg-info .pytest_cache .ruff_cache .mypy_cache .hypothesis

# timm is for tests of the import. It asks for torchvision, which must match the build of torch and would go unused.
$(STAMP): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "bivit needs python 3.11 or newer; set PYTHON=/path/to/python3.11")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --disable-pip-version-check --quiet --constraint constraints.txt --editable '.[dev]'
	$(BIN)/python -m pip install --disable-pip-version-check --quiet --constraint constraints.txt --no-deps timm
	touch $@
