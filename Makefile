# `make demo` and `make test` are all a newcomer needs, `make quick` a change in hand; all set up .venv first, from the
# lock file.
VENV := .venv
RUN  := $(VENV)/bin/python

.PHONY: demo test quick lint bench prove lock clean
.DEFAULT_GOAL := demo

demo: $(VENV)/.ready
	$(VENV)/bin/lightloom demo --out out/demo

# One after the other, because Blender and torch crash each other in one process; each on two cores, file by file and in
# the order of the rooms, so that what a file or a room has started is used by all that follows.
NETWORKS := tests/renderers tests/labeling tests/training
PAIRED   := --numprocesses 2 --dist loadfile --no-loadscope-reorder

test: $(VENV)/.ready
	$(RUN) -m pytest $(PAIRED) $(NETWORKS:%=--ignore=%)
	$(RUN) -m pytest $(PAIRED) $(NETWORKS)

# What needs neither Blender nor torch, and starts no Ray.
QUICK := tests/test_house.py tests/manifests tests/scenes tests/pipeline tests/lightloom/test_docs.py

quick: $(VENV)/.ready
	$(RUN) -m pytest -m 'not slow and not assets and not ray' --numprocesses 2 $(QUICK) \
	  --ignore=tests/manifests/test_first_contract.py --ignore=tests/manifests/test_atomic.py  # they kill at every step

lint: $(VENV)/.ready
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy
	$(VENV)/bin/lint-imports

# Writes the tables of docs/benchmarks.md anew; WORD=scale for those whose command has that word.
bench: $(VENV)/.ready
	$(RUN) -m benchmarks.tables docs/benchmarks.md --only "$(WORD)"
	$(RUN) -m benchmarks.material_cost
	$(RUN) -m benchmarks.factory

# All slow proofs and every row of docs/reliability.md, in one table; hours.
prove: $(VENV)/.ready
	$(RUN) -m benchmarks.prove

# The stamp is newer than what it was made from, so that set-up runs once and again only when a pin changes.
$(VENV)/.ready: requirements.lock pyproject.toml .python-version
	@set -e; if [ ! -x $(RUN) ]; then \
	  for python in python3.13 python3 python; do \
	    if $$python -c 'import sys; sys.exit(sys.version_info[:2] != (3, 13))' 2>/dev/null; then found=$$python; break; fi; \
	  done; \
	  if [ -n "$$found" ]; then $$found -m venv $(VENV); \
	  elif command -v uv >/dev/null; then uv venv --seed --python 3.13 $(VENV); \
	  else echo "Python 3.13 not found: install it (pyenv install 3.13, or uv), then run make again" >&2; exit 1; fi; \
	fi
	$(RUN) -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	$(RUN) -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@

# Needs uv; pins every package for every platform, with hashes and without naming an index.
lock:
	uv pip compile pyproject.toml --extra dev --universal --python-version 3.13 --generate-hashes \
	  --no-emit-index-url --no-header --no-annotate --quiet --output-file requirements.lock

clean:
	rm -rf $(VENV) out
