# `make demo` and `make test` set up everything that they need. `make help` lists the targets.

.PHONY: help setup demo test test-all cluster-up cluster-down cluster-test image-test issue-10530 manifests lint format bench clean

help: ## this list
	@grep -hE '^[a-z0-9-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z0-9-]+):.*## /\1\t/' | expand -t 12

setup: ## a .venv with the pinned packages (Python 3.11 to 3.13); does nothing when it is up to date
	@requirements/install.sh

demo: setup ## train and score a small detector on this machine: two workers, one evaluator, a mAP
	@.venv/bin/launcher submit configs/demo.yaml --replace

# Most tests run in two processes, each file in one of them. Those of end_to_end start workers that
# take all cores themselves, and come after them, one at a time.
TEST_PROCESSES ?= 2
pytest = .venv/bin/pytest -n $(TEST_PROCESSES) --dist loadfile --ignore tests/end_to_end

test: setup ## the test suite (about 50 minutes on 2 cores)
	@$(pytest) -m "not slow and not cluster"
	@.venv/bin/pytest -m "not slow" tests/end_to_end

test-all: setup ## the test suite with what takes minutes each
	@$(pytest) -m "not cluster"
	@.venv/bin/pytest tests/end_to_end

cluster-up: setup ## a real Kubernetes control plane on this machine, nodes simulated (needs Go; built once)
	@.venv/bin/python -m tests.cluster.up up

cluster-down: ## stop what cluster-up started, and remove its state
	@.venv/bin/python -m tests.cluster.up down

cluster-test: setup ## the tests against a cluster: that of KUBECONFIG, else that of cluster-up
	@.venv/bin/pytest -n 4 -m cluster tests/cluster

image-test: setup ## build the Dockerfile without pulling an image, and train in it (as root; buildah, debootstrap)
	@.venv/bin/python tests/packaging/build_image.py

issue-10530: setup ## the story of tensorflow/models#10530 in miniature: broken, why, mended (about 40 minutes)
	@.venv/bin/python bench/issue_10530.py

manifests: setup ## render manifests/ from configs/
	@for kind in job jobset tfjob rayjob; do for model in d0 d3; do \
		.venv/bin/launcher render configs/efficientdet_$$model.yaml --kind $$kind \
			-o manifests/$$kind/efficientdet_$$model.yaml || exit; done; done

lint: setup ## ruff, mypy strict, import-linter, hadolint
	@.venv/bin/ruff check .
	@.venv/bin/ruff format --check .
	@.venv/bin/mypy
	@.venv/bin/lint-imports
	@.venv/bin/hadolint Dockerfile

format: setup ## put the code into its one format
	@.venv/bin/ruff check --fix .
	@.venv/bin/ruff format .

bench: setup ## the figures of the documentation, one command each: see bench/
	@ls bench/*.py

clean: ## remove what setup and the tests made (not runs/)
	rm -rf .venv .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache *.egg-info build dist
