# deepinside. The two main commands are `make reproduce` and `make test`; both create .venv if needed.
SHELL := /bin/bash
, := ,
.DEFAULT_GOAL := help
.PHONY: help setup reproduce report verify reference models test test-all bench bench-check lint format docs docs-pictures timings coverage notebook site clean

PYTHON ?= python3
NETWORK ?= tinycaffenet
# the slowest experiments run in parallel with the others, each side on one core: LONG and HOG_SIFT take as long as OTHERS
LONG ?= caffe_class_model_cat,mahendran_inversion_caffenet,mahendran_layers
# the experiment that has a network of its own
HOG_SIFT ?= mahendran_table1
# with DATA=tiny_imagenet, localisation is measured on that data set: configs/images/ lists them
DATA ?=
LOCALISATION := localisation_error
OTHERS ?= glob(*,exclude=[$(LONG),$(HOG_SIFT)$(if $(DATA),$(,)$(LOCALISATION))])
# full: five seeds
DEPTH ?=
RESULTS ?= results
BIN := .venv/bin
READY := .venv/ready
# the launchers' libraries (80 MB), which only the slow tests need
EXTRAS ?= dev,docs,joblib,submitit,ray
EVERYTHING := .venv/everything
# the tools that make bench compares with: Captum, Zennit, torch-lucent
PEERS := .venv/peers
# the generator of `make site`: mkdocs-material, mkdocstrings
SITE := .venv/site
BENCH := PYTHONPATH=tools:tests/support $(BIN)/python -m bench

help: ## this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## (.*)/\1|\2/' | awk -F'|' '{printf "  make %-13s %s\n", $$1, $$2}'
	@echo "  NETWORK=caffenet chooses another network; deepinside --help lists them"

$(READY): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "deepinside needs Python 3.11 or newer; set PYTHON=python3.11 or the like"; exit 1; }
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	@touch $@

$(EVERYTHING): $(READY)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[$(EXTRAS)]'
	@touch $@

$(PEERS): $(READY)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev,bench]'
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt --no-deps torch-lucent
	@touch $@

$(SITE): $(READY)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev,docs]'
	@touch $@

setup: $(READY) ## create .venv from the exact pins of constraints.txt

reproduce: $(READY) ## every experiment on NETWORK, then the table of the papers' claims; DATA=tiny_imagenet localises there, DEPTH=full uses five seeds
	@run() { TERM=dumb $(BIN)/deepinside -m "experiment=$$1" "network=$$2" $${3:+"$$3"} 'runtime.results=$(RESULTS)' runtime.threads=1 runtime.report=false $(if $(filter full,$(DEPTH)),'seed=range(5)'); }; \
	others() { run '$(OTHERS)' '$(NETWORK)'; others=$$?; $(if $(DATA),run '$(LOCALISATION)' '$(NETWORK)' 'images=$(DATA)' || others=1;) return $$others; }; \
	long() { run '$(LONG)' '$(NETWORK)'; long=$$?; run '$(HOG_SIFT)' hog_sift; return $$(($$? + long)); }; \
	long & others; others=$$?; wait $$!; long=$$?; \
	$(BIN)/deepinside-results claims --results '$(RESULTS)' --network '$(NETWORK)'; \
	$(BIN)/deepinside-results report --results '$(RESULTS)'; exit $$((others + long))

report: $(READY) ## write the report results/index.html
	@$(BIN)/deepinside-results report --results '$(RESULTS)'

verify: $(READY) ## run everything again and compare with the committed numbers in results/reference
	@rm -rf build/verify # else finished runs would be skipped
	@$(MAKE) --no-print-directory reproduce RESULTS=build/verify NETWORK=tinycaffenet
	@$(BIN)/deepinside-results compare --results build/verify --network tinycaffenet

reference: $(READY) ## store the numbers in results/ as the committed reference
	@$(BIN)/deepinside-results keep --results '$(RESULTS)' --network tinycaffenet

models: $(READY) ## fetch NETWORK into the cache and check it
	@$(BIN)/deepinside-model fetch '$(NETWORK)'

test: $(READY) ## the tests that are not slow, one process per core
	@OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n auto --dist loadfile -m "not slow"

test-all: $(EVERYTHING) ## all tests: clusters of processes, kills, complete data sets
	@OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n auto --dist loadfile
	@$(MAKE) --no-print-directory bench-check

bench: $(PEERS) ## compare the speed with other tools, in results/bench; ONLY=caffenet_saliency SECONDS=20 chooses, ON=squeezenet measures that network
	@$(BENCH) run $(if $(ON),--network '$(ON)') $(if $(ONLY),--only '$(ONLY)') $(if $(SECONDS),--seconds $(SECONDS))

bench-check: $(PEERS) ## fail if a speed ratio is below its floor
	@$(BENCH) check --seconds 10

lint: $(READY) ## ruff and mypy
	@$(BIN)/ruff check . && $(BIN)/ruff format --check . && $(BIN)/mypy

format: $(READY) ## format the code with ruff
	@$(BIN)/ruff check --fix . ; $(BIN)/ruff format .

docs: $(READY) ## write the generated pages: the configuration reference, the results table; records for archives
	@$(BIN)/python tools/reference_docs.py
	@$(BIN)/python tools/archive_metadata.py
	@$(BIN)/python tools/results_tables.py

docs-pictures: $(READY) ## make the pictures of docs/
	@OMP_NUM_THREADS=1 $(BIN)/python tools/docs_pictures.py

timings: $(READY) ## write docs/timings.md from the results of make reproduce
	@$(BIN)/python tools/results_tables.py --timings $(RESULTS)

coverage: $(EVERYTHING) ## try the missing architectures of docs/coverage.md; hours, may be interrupted
	@OMP_NUM_THREADS=1 $(BIN)/python tools/network_coverage.py run

notebook: $(READY) ## run docs/tour.ipynb and store its outputs
	@OMP_NUM_THREADS=1 $(BIN)/python tools/notebook.py

site: $(SITE) ## build the documentation site in build/site; warnings are errors
	@NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --quiet --strict && echo "site: build/site/index.html"

clean: ## remove results and caches of this checkout; fetched networks stay
	rm -rf build .pytest_cache .ruff_cache .mypy_cache
	find results -mindepth 1 -maxdepth 1 ! -name reference ! -name bench -exec rm -rf {} +
