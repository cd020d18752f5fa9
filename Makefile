# On a fresh machine with Python 3.11 or newer and make, every target makes what it needs.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
CONSTRAINTS ?= constraints.txt
RUN := runs/demo-$(shell date +%Y%m%d-%H%M%S)

.PHONY: demo test test-all test-oldest test-newest test-gpu bench bench-gpu docs package lint format clean

demo: $(VENV)/installed
	$(BIN)/plait train text --data presidents --recipe good --out $(RUN)
	for beta in 0.5 1 2 3; do \
	  printf '\n=== beta = %s\n' $$beta; \
	  $(BIN)/plait generate $(RUN) --prompt "The people " --length 200 --beta $$beta || exit; \
	done
	@printf '\n=== greedy\n'
	$(BIN)/plait generate $(RUN) --prompt "The people " --length 200 --greedy
	@printf '\nThe learning curves are in $(RUN)/curves.png\n'

test: $(VENV)/installed
	$(BIN)/pytest -n auto --dist loadgroup -m "not slow"

test-all: $(VENV)/installed
	$(BIN)/pytest -n auto --dist loadgroup

# The oldest supported versions, on Python 3.11, and the newest there are, each in its own folder.
test-oldest:
	$(MAKE) test CONSTRAINTS=oldest.txt VENV=.venv-oldest

test-newest:
	$(MAKE) test CONSTRAINTS=/dev/null VENV=.venv-newest

bench: $(VENV)/installed
	-$(BIN)/python -m pip install --quiet -c $(CONSTRAINTS) -e '.[bench]'
	$(BIN)/python benchmarks/bench.py

# Where torch finds a GPU; every other machine skips what needs one. On a GPU every cell × operator in
# both directions is tried too, which takes the interpreter too long; then, where compute-sanitizer is
# on the PATH, it looks for accesses out of bounds and for races in shared memory, in small cases.
test-gpu: $(VENV)/installed
	-$(BIN)/python -m pip install --quiet -c $(CONSTRAINTS) -e '.[gpu]'
	$(BIN)/pytest -m "not slow" tests/kernels
	@if ! $(BIN)/python -c 'import sys, torch; sys.exit(not torch.cuda.is_available())'; then \
	  echo 'No GPU here: the kernels were run in the interpreter alone.'; \
	elif ! $(BIN)/pytest -m slow tests/kernels/gpu; then \
	  exit 1; \
	elif ! command -v compute-sanitizer > /dev/null; then \
	  echo 'compute-sanitizer is not on the PATH: it was not run.'; \
	else \
	  for tool in memcheck racecheck; do \
	    PLAIT_CUDA_GRAPHS=0 PYTORCH_NO_CUDA_MEMORY_CACHING=1 \
	      compute-sanitizer --tool $$tool --error-exitcode 1 \
	      $(BIN)/python -m pytest -q -m "not slow" tests/kernels/gpu/test_steps.py \
	      tests/kernels/gpu/test_persistent.py tests/kernels/gpu/test_attention.py \
	      tests/kernels/gpu/test_sparse.py tests/kernels/test_edge_sums.py -k "not on_a_gpu" || exit; \
	  done; \
	fi

bench-gpu: $(VENV)/installed
	-$(BIN)/python -m pip install --quiet -c $(CONSTRAINTS) -e '.[bench,gpu]'
	$(BIN)/python benchmarks/bench_gpu.py

# The site, in build/site; a warning is an error, but for the notice, left out here, that its tools
# are looked after until May 2027. They are wanted for nothing else.
docs: $(VENV)/installed
	$(BIN)/python -m pip install --quiet -c $(CONSTRAINTS) -e '.[docs]'
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet

# Wheel and sdist in build/dist, each installed without extras in an environment of its own and tried
# there by a user's first commands.
package: $(VENV)/installed
	$(BIN)/python -m pip install --quiet -c $(CONSTRAINTS) build
	rm -rf build/dist build/clean
	$(BIN)/python -m build --outdir build/dist
	$(PYTHON) -m venv build/clean
	for made in build/dist/plait-*.whl build/dist/plait-*.tar.gz; do \
	  build/clean/bin/python -m pip install --quiet -c $(CONSTRAINTS) $$made && \
	  build/clean/bin/python -m pip check && \
	  build/clean/bin/python tests/first_commands.py && \
	  build/clean/bin/python -m pip uninstall --quiet --yes plait || exit; \
	done

lint: $(VENV)/installed
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/basedpyright

format: $(VENV)/installed
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

clean:
	rm -rf $(VENV) .venv-oldest .venv-newest .pytest_cache .ruff_cache .hypothesis

# constraints.txt has what was tested together, oldest.txt the oldest versions that are supported.
# Both pin torch, so that pip does not look for another build of it.
# PyTorch Geometric Temporal, which tests compare with, asks for compiled packages that the layers
# compared with do without: it comes alone, and where it does not come those tests are skipped.
$(VENV)/installed: pyproject.toml $(CONSTRAINTS)
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet -c $(CONSTRAINTS) -e '.[demo,test]'
	-$(BIN)/python -m pip install --quiet --no-deps -c $(CONSTRAINTS) torch_geometric_temporal
	touch $@
