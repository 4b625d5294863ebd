# The front door. CMake does the work in build/, the command is build/benben.
#   make            the library and the command
#   make check      what to run while working: C unit tests and the quick Python tests
#   make check-all  everything, as .ci/run does
#   make python     the Python package: staged in build/site, made a wheel, installed into .venv
#   make wheel      the wheel for others: built from nothing, for glibc 2.28, in build/wheel
#   make examples   the examples in Python: pictures and numbers in build/examples; FULL=1: at full size
#   make demo       the first job on real data: build/demo/terrain.png
#   make bench      times beside peers (bench/README.md); FULL=1: every case, table of acceptance, figures, docs
#   make interpolation   kernel systems of 125,000 points beside plain iterations, pykeops, GPyTorch, Cholesky: 20 minutes
#   make docs       the documentation: build/docs/html/index.html; every example runs, a warning is an error
#   make check-gpu   the tests of a device on it (TARGET=opencl: on what OpenCL has); make bench-gpu: times beside peers
#   make golden     renew the stored texts of emitted kernels (review the diff)
#   make format     lay out the C files (clang-format, fetched into .venv)
#   make install PREFIX=/usr/local
BUILD ?= build
PREFIX ?= /usr/local
JOBS ?= $(shell nproc 2>/dev/null || echo 2)
CMAKE_FLAGS ?=
VENV = .venv
PYTHON = $(VENV)/bin/python
WHEEL_FLAGS ?=
CMAKE = $(shell command -v cmake || echo $(CURDIR)/$(VENV)/bin/cmake)
CTEST = $(dir $(CMAKE))ctest
GENERATOR = $(shell command -v ninja >/dev/null && echo -G Ninja)
TEST_ENVIRONMENT = BENBEN_CACHE_DIR=$(CURDIR)/$(BUILD)/test-cache BENBEN_BUILD=$(CURDIR)/$(BUILD)

export PIP_DISABLE_PIP_VERSION_CHECK = 1
.PHONY: all build configure check check-unit check-python check-all python wheel examples demo bench interpolation docs check-gpu bench-gpu golden format install clean
all: build

configure:
	@tools/require.sh cmake
	@test -f $(BUILD)/CMakeCache.txt || $(CMAKE) -S . -B $(BUILD) $(GENERATOR) $(CMAKE_FLAGS)

build: configure
	@$(CMAKE) --build $(BUILD) -j $(JOBS)

check: check-unit check-python

check-unit: build
	@tools/require.sh cmocka && $(CMAKE) $(BUILD) >/dev/null
	@$(CMAKE) --build $(BUILD) -j $(JOBS) --target unit_tests
	@cd $(BUILD) && $(TEST_ENVIRONMENT) $(CTEST) -LE full -j $(JOBS) --output-on-failure

check-python: python
	@tools/require.sh torch
	@$(TEST_ENVIRONMENT) $(PYTHON) -m pytest -q -rs -n $(JOBS) --dist worksteal -m "not full" tests/python

python: build
	@tools/require.sh python-headers && $(CMAKE) $(BUILD) >/dev/null
	@$(CMAKE) --build $(BUILD) -j $(JOBS) --target python_site
	@tools/require.sh python python/requirements-wheel.txt && tools/require.sh python tests/requirements.txt
	@PATH="$(CURDIR)/$(VENV)/bin:$$PATH" tools/install_python.sh $(BUILD)/site $(PYTHON)

wheel:
	@tools/require.sh cmake && tools/require.sh python-headers
	@tools/require.sh python python/requirements-wheel.txt
	@rm -rf $(BUILD)/wheel
	@$(PYTHON) -m build --wheel --outdir $(BUILD)/wheel/built $(WHEEL_FLAGS) .
	@PATH="$(CURDIR)/$(VENV)/bin:$$PATH" $(PYTHON) -m auditwheel repair --only-plat \
	    --plat manylinux_2_28_$$(uname -m) --wheel-dir $(BUILD)/wheel $(BUILD)/wheel/built/*.whl

check-all:
	@JOBS=$(JOBS) tools/check_all.sh

examples: python
	@tools/require.sh python examples/requirements.txt
	@for script in $(filter-out examples/common.py examples/terrain.py,$(wildcard examples/*.py)); do \
	    $(PYTHON) $$script --output $(BUILD)/examples $(if $(FULL),--full) || exit 1; \
	done
	@tools/require.sh torch && tools/require.sh python examples/torch/requirements.txt
	@for script in $(filter-out examples/torch/setting.py,$(wildcard examples/torch/*.py)); do \
	    MPLBACKEND=Agg $(PYTHON) $$script --output $(BUILD)/examples $(if $(FULL),--full) || exit 1; \
	done

demo: build
	@tools/require.sh python examples/requirements.txt
	@$(CMAKE) --build $(BUILD) -j $(JOBS) --target terrain
	@$(PYTHON) examples/terrain.py --program $(BUILD)/terrain --output $(BUILD)/demo

bench: build
	@tools/require.sh bench
	@BENBEN_BUILD=$(CURDIR)/$(BUILD) bench/run $(if $(FULL),--acceptance)
	@$(if $(FULL),BENBEN_BUILD=$(CURDIR)/$(BUILD) bench/run more against-n against-d --systems=-pykeops)
	@$(if $(FULL),BENBEN_BUILD=$(CURDIR)/$(BUILD) bench/figures && bench/tables)
	@$(if $(FULL),$(MAKE) --no-print-directory python && BENBEN_BUILD=$(CURDIR)/$(BUILD) bench/overhead)

interpolation: python
	@tools/require.sh bench
	@BENBEN_BUILD=$(CURDIR)/$(BUILD) bench/interpolation $(INTERPOLATION_OPTIONS)
	@bench/tables

docs: python
	@tools/require.sh package doxygen doxygen && tools/require.sh torch
	@tools/require.sh python docs/requirements.txt examples/requirements.txt examples/torch/requirements.txt
	@BENBEN_CACHE_DIR=$(CURDIR)/$(BUILD)/test-cache $(PYTHON) tools/docs.py --build $(BUILD)

check-gpu bench-gpu:
	@BUILD=$(BUILD) JOBS=$(JOBS) tools/gpu.sh $(patsubst %-gpu,%,$@) $(GPU_OPTIONS)

golden: build
	@tools/require.sh cmocka && $(CMAKE) $(BUILD) >/dev/null
	@$(CMAKE) --build $(BUILD) -j $(JOBS) --target test_emit test_symmetric
	@BENBEN_GOLDEN_RENEW=1 $(BUILD)/tests/test_emit
	@BENBEN_GOLDEN_RENEW=1 $(BUILD)/tests/test_symmetric
	@git status --short tests/golden

format:
	@tools/require.sh python tools/format-requirements.txt
	@git ls-files '*.c' '*.h' | grep -v -e /prelude/ -e ^tests/golden/ | xargs $(VENV)/bin/clang-format -i

install: build
	@$(CMAKE) --install $(BUILD) --prefix $(PREFIX)

clean:
	rm -rf $(BUILD) build-*
