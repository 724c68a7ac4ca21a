# The project's commands. `make help` lists them.

PYTHON  ?= python3
WORKERS ?= 8
ARGS    ?=
ADDRESS := 127.0.0.1:8000

# Material's banner on the end of MkDocs 1: known, and no news to a reader.
export NO_MKDOCS_2_WARNING := 1
# Modules are compiled once, and not by each of a test run’s hundreds of processes.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.PHONY: help serve test build offline update bench lock clean setup-site setup-test

help: ## this list
	@echo "Two commands are all it takes. Each sets up what it needs first; later runs need no network."
	@echo
	@echo "  make serve     read the guide at http://$(ADDRESS)/"
	@echo "  make test      prove every rule on a real restate-server"
	@echo
	@echo "All of them:"
	@echo
	@sed -n 's/^\([a-z]*\):.*## /  make \1\t/p' $(firstword $(MAKEFILE_LIST)) | expand -t 17
	@echo
	@echo "Settings: PYTHON=python3.13 make test        another Python (.venv is made anew for it)"
	@echo "          make test ARGS='-k RDD101'         anything that pytest takes"
	@echo "          make test WORKERS=2                tests at a time (now $(WORKERS))"
	@echo "          make serve ADDRESS=127.0.0.1:8001  another port, where 8000 is taken"
	@echo "          RESTATE_SERVER_BIN=/path/to/restate-server, or RESTATE_INGRESS_URL and"
	@echo "          RESTATE_ADMIN_URL for a server that runs already"

serve: setup-site ## the site on http://127.0.0.1:8000/, following what you edit
	@echo "Building the site. Once it says \"Serving on\", open http://$(ADDRESS)/ (Ctrl-C ends it)."
	@.venv/bin/mkdocs serve --dev-addr $(ADDRESS)

test: setup-test ## all tests: every pair on a real server, the site in a real browser
	@.venv/bin/pytest --numprocesses $(WORKERS) --dist loadgroup $(ARGS)

build: setup-site ## the site as files for a web server, in site/
	@.venv/bin/mkdocs build --strict

offline: setup-site ## the site as files that open from a folder, in site-offline/
	@OFFLINE=true .venv/bin/mkdocs build --strict --site-dir site-offline

update: setup-test ## record the evidence anew, after a change of a snippet or a version
	@.venv/bin/guide update

bench: setup-test ## how long each proof takes, and what of it is ours
	@.venv/bin/guide bench

# For maintainers: `uv` and `npm` have to be there.
lock: ## pin and hash what pyproject.toml and package.json name
	uv pip compile --quiet pyproject.toml --group test --output-file requirements.lock
	uv pip compile --quiet --group node --output-file requirements-node.lock
	npm install --package-lock-only

clean: ## remove all that these commands made, .venv included
	rm -rf .venv node_modules site site-offline .pytest_cache .mypy_cache .ruff_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

setup-site:
	@$(PYTHON) tools/setup.py site

setup-test:
	@$(PYTHON) tools/setup.py test
