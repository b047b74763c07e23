# Thin targets over the `zoo` command; `make help` lists them.
#
#   MODEL=cnn DATASET=mnist EPOCHS=5 ARGS="--seed 1"    choose and pass on
#   STORE=store RUNS=runs                               where things lie
#   PYTHON=python3.12                                   which Python makes the environment

MODEL ?= cnn
STORE ?= store
RUNS ?= runs
PYTHON ?= python3
VENV := .venv
ZOO := $(VENV)/bin/zoo
INPUT ?=
export INPUT
ARGS ?=
TRAINING = $(if $(DATASET),--dataset $(DATASET)) $(if $(EPOCHS),--epochs $(EPOCHS))

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help demo list train export config serve predict test lint format compress report bench-train bench-serving bench-compression soak results docs clean

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-13s %s\n", $$1, $$2}' $(MAKEFILE_LIST)
	@sed -n '3,5s/^# *//p' $(MAKEFILE_LIST)

demo: $(VENV)/installed ## train, export, serve, ask over REST and gRPC, stop
	$(ZOO) demo $(MODEL) $(TRAINING) --runs $(RUNS) --store $(STORE) $(ARGS)

list: $(VENV)/installed ## the models and what they are trained on
	$(ZOO) list $(ARGS)

train: $(VENV)/installed ## train MODEL by its recipe into RUNS
	$(ZOO) train $(MODEL) $(TRAINING) --runs $(RUNS) $(ARGS)

export: $(VENV)/installed ## publish MODEL's newest run as a version in STORE
	$(ZOO) export $(MODEL) --runs $(RUNS) --store $(STORE) $(ARGS)

config: $(VENV)/installed ## write TensorFlow Serving's configuration files for STORE
	$(ZOO) config --store $(STORE) $(ARGS)

serve: $(VENV)/installed ## serve STORE on REST 8501 and gRPC 8500
	$(ZOO) serve --store $(STORE) $(ARGS)

predict: $(VENV)/installed ## ask the running server, INPUT=seven.png
	@test -n "$$INPUT" || { echo 'Say what to ask, as in make predict MODEL=cnn INPUT=seven.png'; exit 2; }
	$(ZOO) predict $(MODEL) "$$INPUT" $(ARGS)

compress: $(VENV)/installed-test ## smaller, faster versions of MODEL's newest run; ARGS="--recipe …"
	$(ZOO) compress $(MODEL) --runs $(RUNS) --store $(STORE) $(ARGS)

report: $(VENV)/installed ## bytes, accuracy and speed of MODEL's versions in STORE
	$(ZOO) report $(MODEL) --store $(STORE) $(ARGS)

test: $(VENV)/installed-test ## the test suite
	$(VENV)/bin/python -m pytest -n 2 --dist worksteal $(ARGS)

lint: $(VENV)/installed-test ## ruff: rules and format
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .

format: $(VENV)/installed-test ## ruff: put into format, mend what it can
	$(VENV)/bin/ruff check --fix .
	$(VENV)/bin/ruff format .

bench-train: $(VENV)/installed ## training speed beside plain fit and bare loops, start-up times
	$(VENV)/bin/python -m benchmarks.train --keep $(ARGS)
	$(VENV)/bin/python -m benchmarks.startup
	$(VENV)/bin/python -m benchmarks.readme

bench-serving: $(VENV)/installed ## requests a second over REST and gRPC beside the session's own speed
	$(VENV)/bin/python -m benchmarks.serving --keep $(ARGS)

bench-compression: $(VENV)/installed-test ## every family compressed and measured beside the plain export
	$(VENV)/bin/python -m benchmarks.compression --keep $(ARGS)
	$(VENV)/bin/python -m benchmarks.readme

soak: $(VENV)/installed ## 200,000 requests and 50 version swaps: does the server's memory grow?
	$(VENV)/bin/python -m benchmarks.soak $(ARGS)

results: $(VENV)/installed-test ## every recipe with its seeds; the README's table (three hours)
	$(VENV)/bin/python -m benchmarks.results $(ARGS)
	$(VENV)/bin/python -m benchmarks.readme

docs: $(VENV)/installed-test ## docs/models.md from the registry, exports measured anew
	$(VENV)/bin/python -m benchmarks.exports $(ARGS)
	$(VENV)/bin/python -m benchmarks.docs
	$(VENV)/bin/python -m benchmarks.readme

clean: ## remove the virtual environment and caches, keep runs and store
	rm -rf $(VENV) .pytest_cache .ruff_cache .hypothesis *.egg-info build serving/server/rest/*.so

# Made anew when the metadata or the versions change: a virtual environment has no other way to
# be what these files say. The stamp comes last, so an interrupted install is begun again.
$(VENV)/installed: setup.cfg setup.py constraints.txt pyproject.toml serving/server/rest/_numbers.c
	@$(PYTHON) -c 'import sys; ok = (3, 10) <= sys.version_info[:2] <= (3, 13); sys.exit(0 if ok else f"Python 3.10 to 3.13 is needed, and $(PYTHON) is {sys.version.split()[0]}: make PYTHON=python3.12 …")'
	rm -rf $(VENV)
	$(PYTHON) -m venv $(VENV)
	$(VENV)/bin/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e .
	@touch $@

$(VENV)/installed-test: $(VENV)/installed
	$(VENV)/bin/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[test,lint]'
	@touch $@
