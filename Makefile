# The loop of a change: make check, make test. CONTRIBUTING.md says what each does.
VENV   ?= .venv
PY     := $(VENV)/bin/python
# Bits depend on the number of BLAS threads: every search and every comparison here runs with one.
export OMP_NUM_THREADS = 1
export OPENBLAS_NUM_THREADS = 1
export MKL_NUM_THREADS = 1
# Many images of Python forbid it to keep what it has compiled. Then each pytest rewrites the tests' asserts anew (10 s), and each of
# the hundreds of processes that the tests begin compiles this project again.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: help
help: ## this list
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/\1\t\2/p' $(MAKEFILE_LIST) | expand -t 16

$(VENV)/installed: requirements/dev.txt pyproject.toml
	python3 -m venv $(VENV)
	$(PY) -m pip install --quiet --require-hashes -r requirements/dev.txt
	$(PY) -m pip install --quiet --no-deps --no-build-isolation --editable .
	@touch $@

.PHONY: venv
venv: $(VENV)/installed ## the Python environment, from the lock file

.PHONY: demo
demo: venv ## run a search on this machine: local processes, SQLite
	$(VENV)/bin/tuningjob run examples/breast-cancer-svc.yaml

.PHONY: lint
lint: venv ## ruff alone: a second
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .

.PHONY: check
check: lint ## ruff, mypy --strict, import-linter, and the generated files are up to date
	$(VENV)/bin/mypy
	$(VENV)/bin/lint-imports
	$(PY) -m tuningjob.manifest.crd --check crds/tuningjobs.yaml charts/tuningjob/files/crds/tuningjobs.yaml

.PHONY: generate
generate: venv ## write the generated files anew (the CRD, from the models; the newest schema, from the migrations)
	$(PY) -m tuningjob.manifest.crd --write crds/tuningjobs.yaml charts/tuningjob/files/crds/tuningjobs.yaml
	$(PY) -m tuningjob.journal.migrations.newest

.PHONY: site
site: venv ## the documentation as a site, in build/site; a link that leads nowhere is an error
	$(PY) -m sphinx -W --keep-going --quiet -c docs/site -b dirhtml . build/site

.PHONY: test-fast
test-fast: venv ## the tests of about a minute: without the cluster's and the slow ones
	$(PY) -m tests.parts --at-once 2 "engine operator manifest" -- -m "not cluster and not slow"

.PHONY: test
test: venv cluster-debian ## all tests, those on the real two-node cluster included
	$(PY) -m tests.parts --deps --again --at-once 2 $(PARTS) cluster engine local journal search "service pod" "operator manifest" -- --durations=10

build/coverage/installed: requirements/coverage.txt | venv
	$(PY) -m pip install --quiet --upgrade --require-hashes --target build/coverage -r $<
	@touch $@

# Not a dependency of development: one who measures wants it, and its hook in each process that begins would cost all others.
MEASURED ?= tests -m "not cluster and not slow"
.PHONY: coverage
coverage: build/coverage/installed ## branch coverage of the fast tests, or of what MEASURED names ("tests/engine tests/journal")
	rm -rf build/coverage/data
	PYTHONPATH=build/coverage $(PY) -m coverage run -m pytest -q $(MEASURED)
	PYTHONPATH=build/coverage $(PY) -m coverage combine --quiet
	PYTHONPATH=build/coverage $(PY) -m coverage report --skip-covered

build/venv-sklearn-%/installed: requirements/sklearn-%.txt pyproject.toml
	python3 -m venv --clear build/venv-sklearn-$*
	build/venv-sklearn-$*/bin/pip install --quiet --require-hashes -r $<
	build/venv-sklearn-$*/bin/pip install --quiet --no-deps --no-build-isolation --editable .
	@touch $@

# What is fast of the engine's tests, and what is proved for each version: the rules, the list of what is known, and scikit-learn's own
# tests of its search. The rest is about processes and memory, and what is left out here about libraries that follow the newest.
OLDER := 1.8
OF_OTHERS := $(addprefix --ignore=tests/engine/,test_imbalanced.py rules/test_lightgbm_rounds.py rules/test_xgboost_rounds.py)
OF_EXACTNESS := $(addprefix tests/engine/test_exact.py::test_,a_scorer_may_do_anything_where_one_fit_would_serve_several \
  a_transformer_of_ones_own_that_draws_at_each_transform what_counts_over_all_of_its_instances_is_fitted_as_often_and_in_the_same_order) \
  $(addprefix tests/engine/test_pruned_search.py::test_,a_class_with_a_score_of_its_own_among_the_candidates_is_refused \
  a_random_search_is_pruned_too draws_that_nobody_seeded_are_scikit_learns_and_nothing_is_left_out the_forgiving_rule_takes_any_scorer \
  the_winner_is_scikit_learns_to_the_bit) \
  $(addprefix tests/engine/test_guard.py::test_,what_begins_alike_is_watched_once_also_where_a_rule_could_serve_other_beginnings)
# No rule was proved there, so nothing is shared: what is held is that every search runs, and is scikit-learn's to the bit.
OLDEST := 1.6
AS_IT_IS := tests/engine/test_scikit_learns_own.py tests/engine/test_property.py
.PHONY: test-versions test-version-$(OLDEST) $(OLDER:%=test-version-%)
test-versions: test-version-$(OLDEST) $(OLDER:%=test-version-%) ## the engine's tests on older versions of scikit-learn, in environments of their own
test-version-$(OLDEST): build/venv-sklearn-$(OLDEST)/installed
	build/venv-sklearn-$(OLDEST)/bin/python -m pytest -q -p no:cacheprovider $(AS_IT_IS) -k "not what_is_not_known and not in_forks"
$(OLDER:%=test-version-%): test-version-%: build/venv-sklearn-%/installed
	@build/venv-sklearn-$*/bin/python -c "import sklearn; print('scikit-learn', sklearn.__version__)"
	build/venv-sklearn-$*/bin/python -m pytest -q -p no:cacheprovider -m "not slow or alike" tests/engine $(OF_OTHERS)
	build/venv-sklearn-$*/bin/python -m pytest -q -p no:cacheprovider -m "slow and not alike" tests/engine/rules tests/engine/test_known.py \
	  tests/engine/test_scikit_learns_own.py tests/engine/test_race.py tests/engine/test_schedule.py $(OF_EXACTNESS) $(OF_OTHERS)

# The next version, once the registry has a candidate of it. It may fail, because it is not out yet: that is told, and no failure.
.PHONY: test-version-next
test-version-next: venv ## the same on a release candidate of scikit-learn, if there is one
	@next=$$($(PY) -m pip install --quiet --dry-run --pre --upgrade --no-deps --report - scikit-learn \
	  | $(PY) -c "import json, sys; print(*(each['metadata']['version'] for each in json.load(sys.stdin)['install']))"); \
	if [ -z "$$next" ]; then echo "scikit-learn: the registry has nothing newer than what all tests run on"; exit 0; fi; \
	$(MAKE) build/venv-sklearn-next/$$next && build/venv-sklearn-next/bin/python -m pytest -q -p no:cacheprovider $(AS_IT_IS) \
	  || echo "ALLOWED TO FAIL: scikit-learn $$next, which is not out yet"
build/venv-sklearn-next/%: requirements/dev.txt pyproject.toml
	python3 -m venv --clear build/venv-sklearn-next
	build/venv-sklearn-next/bin/pip install --quiet --require-hashes -r $<
	build/venv-sklearn-next/bin/pip install --quiet --no-deps --no-build-isolation --editable .
	build/venv-sklearn-next/bin/pip install --quiet --no-deps scikit-learn==$*
	@touch $@

# Everything else runs on 3.11, the oldest that is supported. PYTHON names the interpreter if it is not on the path.
NEWER_PYTHONS := 3.12 3.13 3.14
build/venv-python-%/installed: requirements/dev.txt pyproject.toml
	$(or $(PYTHON),python$*) -m venv --clear build/venv-python-$*
	build/venv-python-$*/bin/python -c "import sys; assert sys.version_info[:2] == (3, $(lastword $(subst ., ,$*))), sys.version"
	build/venv-python-$*/bin/pip install --quiet --require-hashes -r $<
	build/venv-python-$*/bin/pip install --quiet --no-deps --no-build-isolation --editable .
	@touch $@

.PHONY: $(NEWER_PYTHONS:%=test-python-%)
$(NEWER_PYTHONS:%=test-python-%): test-python-%: build/venv-python-%/installed ## the fast tests of the engine and of searches on another Python
	build/venv-python-$*/bin/python -m pytest -q -p no:cacheprovider -m "not cluster and not slow" tests/engine tests/search

.PHONY: bench-engine
bench-engine: venv ## measure the engine against scikit-learn and others, write benchmarks/results/engine.md (an hour, on a quiet machine)
	$(PY) -m benchmarks.rivals
	$(PY) -m benchmarks.engine --date $$(date +%F)

.PHONY: bench-public-grids
bench-public-grids: venv ## measure the engine on grids as people published them, write benchmarks/results/public-grids.md (an hour and a half; goes on where it ended)
	$(PY) -m benchmarks.public_grids --missing --date $$(date +%F)

.PHONY: bench-beginnings
bench-beginnings: venv ## measure what it would save to share what a fold's fits begin with, write benchmarks/results/beginnings.md (four minutes)
	OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 $(PY) -m benchmarks.beginnings --date $$(date +%F)

.PHONY: bench-fixed-costs
bench-fixed-costs: venv ## measure what a search costs beside its fits, write benchmarks/results/fixed-costs.md (two minutes)
	$(PY) -m benchmarks.fixed_costs --date $$(date +%F)

.PHONY: bench-pruning
bench-pruning: venv ## measure what pruning saves in fits and seconds, write benchmarks/results/pruning.md (five minutes)
	OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 $(PY) -m benchmarks.pruning --date $$(date +%F)

.PHONY: bench-start
bench-start: venv ## measure from kubectl apply to the first fit against a bare Job, on the cluster of `make cluster-up`
	$(PY) -m benchmarks.start --date $$(date +%F)

.PHONY: bench-start-from-python
bench-start-from-python: venv ## measure from a submit in Python to the first fit against kubectl apply, on the cluster of `make cluster-up`
	$(PY) -m benchmarks.start_from_python --date $$(date +%F)

.PHONY: bench-operator
bench-operator: venv cluster-deps ## measure the operator with 1,000 TuningJobs on fake nodes, write benchmarks/results/operator.md (6 minutes)
	python3 -m venv --clear build/operator-venv
	build/operator-venv/bin/pip install --quiet --require-hashes -r requirements/operator.txt
	build/operator-venv/bin/pip install --quiet --require-hashes -r requirements/build.txt
	build/operator-venv/bin/pip install --quiet --no-deps --no-build-isolation .
	$(PY) -m benchmarks.operator --date $$(date +%F)

.PHONY: bench-incident
bench-incident: venv ## measure a neighbour's latency beside a search, on the cluster of `make cluster-up` (half an hour, on a quiet machine)
	$(PY) -m benchmarks.incident --date $$(date +%F)

.PHONY: bench-scale
bench-scale: venv ## measure sleeping fits beside others, and a pod for each on the cluster of `make cluster-up`, write benchmarks/results/scale.md (an hour)
	$(PY) -m benchmarks.scale --date $$(date +%F)

MINUTES ?= 60
SEED ?= 1
.PHONY: soak
soak: venv cluster-deps ## an hour of searches while everything around them is killed, cut off and filled, on a cluster of its own; MINUTES, SEED
	$(PY) -m benchmarks.soak --minutes $(MINUTES) --seed $(SEED) $(if $(CI),,--date $$(date +%F))

.PHONY: cluster-debian cluster-deps cluster-up cluster-demo cluster-down
cluster-debian: venv
	$(PY) -m tests.cluster.harness debian
cluster-deps: venv ## install and build what the test cluster and the servers of tests/servers need (root; minutes the first time)
	$(PY) -m tests.cluster.harness deps
cluster-up: cluster-deps ## a real two-node Kubernetes on this machine, with the chart installed
	$(PY) -m tests.cluster.harness up
cluster-demo: venv ## apply an example to it and watch
	$(PY) -m tests.cluster.harness demo
cluster-down: venv ## and away, leaving nothing behind
	$(PY) -m tests.cluster.harness down

LOCKED := --universal --generate-hashes --no-header --python-version 3.11 --quiet
.PHONY: lock
lock: ## resolve the dependencies anew, pinned with hashes
	python3 -m venv build/lock && build/lock/bin/pip install --quiet uv
	build/lock/bin/uv pip compile pyproject.toml --group dev $(LOCKED) --output-file requirements/dev.txt
	for group in build operator worker; do build/lock/bin/uv pip compile --group $$group \
	  $(LOCKED) --output-file requirements/$$group.txt; done
	echo "coverage>=7.10" | build/lock/bin/uv pip compile - $(LOCKED) --output-file requirements/coverage.txt
	echo "mlflow==3.*" | build/lock/bin/uv pip compile - pyproject.toml $(LOCKED) --output-file requirements/mlflow.txt
	echo "scikit-learn==1.8.*" | build/lock/bin/uv pip compile - pyproject.toml --group versions $(LOCKED) --output-file requirements/sklearn-1.8.txt
	# scipy 1.16 has no more what scikit-learn 1.6 imports
	printf "scikit-learn==1.6.*\nscipy==1.15.*\n" | build/lock/bin/uv pip compile - pyproject.toml --group versions $(LOCKED) --output-file requirements/sklearn-1.6.txt
