# `make` alone prints this file's targets. Each target sets up what it needs first, once.
SHELL := /bin/sh
PYTHON ?= python3
BIN := .venv/bin
DONE := .venv/installed

.DEFAULT_GOAL := help
.NOTPARALLEL:
# Variables of the command line are for this make alone. A make that a test starts would otherwise take over the arguments
# of the tests, and prefer the rest to the variables that the test sets in its environment.
MAKEOVERRIDES =
unexport ARGS CHAPTER EMAIL EXERCISE FILE GRAPHS LEVEL NAME PLAN PROJECT
.DELETE_ON_ERROR:

# The language of messages: that of ARGS="--language zh" or of the locale. Help and errors of other programs are English.
LOCALE := $(firstword $(LC_ALL) $(LC_MESSAGES) $(LANG))
CHINESE := $(if $(findstring --language,$(ARGS)),$(findstring --language zh,$(ARGS)),$(filter zh%,$(LOCALE)))

##@ Run (EMBEDDED_MODEL=qwen2.5-coder-0.5b: a larger embedded model for English and Chinese, 490 MB on first use)

.PHONY: run-project1
run-project1: $(DONE)/project1 $(DONE)/embedded ## Project 1, a question-answering API, on port 8001
	@exec $(BIN)/python -m local $(if $(CHAPTER),--chapter "$(CHAPTER)") project1

.PHONY: run-project2
run-project2: $(DONE)/project2 $(DONE)/embedded ## Project 2, + users and messages on PostgreSQL, on port 8002
	@exec $(BIN)/python -m local $(if $(CHAPTER),--chapter "$(CHAPTER)") project2

.PHONY: run-project3
run-project3: $(DONE)/project3 $(DONE)/ocr $(DONE)/embedded ## Project 3, + documents, search and cited answers, on port 8003; `CHAPTER=vectors` for its beginning
	@exec $(BIN)/python -m local $(if $(CHAPTER),--chapter "$(CHAPTER)") project3

.PHONY: run-project4
run-project4: $(DONE)/project4 $(DONE)/ocr $(DONE)/embedded ## Project 4, + accounts, agents and durable runs, on port 8004; `CHAPTER=agents` for its first chapter; `GRAPHS=path/to/langgraph.json` for your graphs, reloaded as you edit, on port 2024
	@exec $(BIN)/python $(if $(GRAPHS),-m agent_api dev --config "$(GRAPHS)",-m local $(if $(CHAPTER),--chapter "$(CHAPTER)") project4)

.PHONY: migrate-project2
migrate-project2: $(DONE)/project2 ## Bring the database at DATABASE_URL up to date
	@$(BIN)/python -m project2_user_mgmt migrate

.PHONY: migrate-project3
migrate-project3: $(DONE)/project3 ## The same for project 3, which needs pgvector there
	@$(BIN)/python -m project3_rag_docs migrate

.PHONY: migrate-project4
migrate-project4: $(DONE)/project4 ## The same for project 4
	@$(BIN)/python -m project4_agent_api migrate

.PHONY: reindex-project3
reindex-project3: $(DONE)/project3 $(DONE)/embedded ## Embed every document again, after EMBEDDING_MODEL was changed
	@exec $(BIN)/python -m local project3 reindex

.PHONY: reindex-project4
reindex-project4: $(DONE)/project4 $(DONE)/embedded ## The same for project 4
	@exec $(BIN)/python -m local project4 reindex

.PHONY: admin-project4
admin-project4: $(DONE)/project4 $(DONE)/embedded ## Make an account of an operator in project 4: EMAIL=you@example.com
	@exec $(BIN)/python -m local project4 create-admin "$(EMAIL)"

.PHONY: stop
stop: $(DONE)/project1 $(DONE)/embedded ## End every project that runs from this folder
	@$(BIN)/python -m local --stop

##@ Check

# One process more than there are cores, since many tests wait for other processes; each has a PostgreSQL and a Valkey of
# its own. Each begins with one part of all tests, in their order, so that those of a file mostly share its fixtures; the
# one that has finished takes half of what another has left.
SIDE_BY_SIDE := -n $(shell expr $$(getconf _NPROCESSORS_ONLN) + 1) --dist worksteal

.PHONY: test
test: setup ## All tests (browser tests need Chromium)
	$(BIN)/python -m pytest $(SIDE_BY_SIDE) $(ARGS)

.PHONY: coverage
coverage: setup ## All tests, measured: slower; best with Python 3.12 or newer
	@$(BIN)/python -m tests.measure_coverage $(SIDE_BY_SIDE) $(ARGS)

.PHONY: test-fast
test-fast: setup ## Tests that need no database and start no whole system
	$(BIN)/python -m pytest -m "not slow" $(SIDE_BY_SIDE) $(ARGS)

.PHONY: test-faults
test-faults: setup ## What is killed, frozen, cut off or badly behaved, in the long form (some minutes)
	FAULTS=long $(BIN)/python -m pytest tests/faults $(ARGS)

.PHONY: test-postgres
test-postgres: setup ## The database tests on every PostgreSQL that is installed
	$(BIN)/python -m tests.postgres_matrix

.PHONY: conformance-reference
conformance-reference: setup ## The conformance tests of project 4 against LangGraph's own development server
	$(BIN)/python -m tests.conformance.reference

.PHONY: test-model
test-model: setup ## A real model under llama.cpp's own server (490 MB on first use, some minutes); not part of `make test`
	$(BIN)/python -m pytest tests/real_model $(ARGS)

.PHONY: lint
lint: setup ## Style, layout, the directions of imports and the language
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports
	@$(BIN)/python .ci/prose.py

.PHONY: format
format: setup ## Rewrite the code in the project's layout
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

.PHONY: typecheck
typecheck: setup ## mypy --strict
	$(BIN)/mypy

.PHONY: check
check: lint typecheck test ## What CI runs: lint, typecheck, test

.PHONY: bench-peers
bench-peers: setup ## This service beside aegra and langhost, which it installs below .data/peers; needs Python 3.12 or newer, and some minutes
	$(BIN)/python -m bench.peers $(ARGS)

.PHONY: bench
bench: setup ## Measure, and write the figures to bench/README.md (some minutes; not a test)
	$(BIN)/python -m bench

.PHONY: eval
eval: $(DONE)/project4 $(DONE)/ocr $(DONE)/embedded ## Score the built-in assistants on evals/; ARGS="--repetitions 3 --output FOLDER" and others: docs/evals.md
	@exec $(BIN)/python -m agent_api eval evals/*.yaml $(ARGS)

##@ Deploy (see docs/deploy.md; CONTAINER=, BUILD= and COMPOSE= choose the commands of another engine)

export CONTAINER BUILD COMPOSE

.PHONY: deploy
deploy: ## Put in the version of this folder, one container at a time; ARGS="--image …" takes another
	@$(PYTHON) -m deploy.rolling $(ARGS)

.PHONY: backup
backup: ## Write a backup that was read again
	@$(PYTHON) -m deploy.backup

.PHONY: restore
restore: ## Put a backup, FILE=…, into a stack without data
	@$(PYTHON) -m deploy.backup --restore $(FILE)

.PHONY: test-deploy
test-deploy: setup ## The whole service in containers, and what deployments and outages do to it (some minutes)
	$(BIN)/python -m pytest -s tests/deploy $(ARGS)

.PHONY: test-deploy-long
test-deploy-long: setup ## Twenty deployments in a row under load, ten of broken versions (an hour); DEPLOYMENTS=4 makes fewer
	DEPLOYMENTS=$(or $(DEPLOYMENTS),20) $(BIN)/python -m pytest -s tests/deploy/deployments_in_turn.py $(ARGS)

##@ Learn (ARGS="--language zh" or a Chinese locale: in Chinese)

.PHONY: learn
learn: $(DONE)/project1 $(DONE)/learn ## Foundations: judge what you wrote, and show the next exercise; `EXERCISE=3` for one
	@$(BIN)/python -m learn.exercise_commands check $(EXERCISE) $(ARGS)

.PHONY: learn-watch
learn-watch: $(DONE)/project1 $(DONE)/learn ## The same whenever you save
	@$(BIN)/python -m learn.exercise_commands watch $(ARGS)

.PHONY: learn-hint
learn-hint: $(DONE)/project1 $(DONE)/learn ## Print a hint; again: one more
	@$(BIN)/python -m learn.exercise_commands hint $(EXERCISE) $(ARGS)

.PHONY: learn-reset
learn-reset: $(DONE)/project1 $(DONE)/learn ## Start an exercise again; your version is kept in a file
	@$(BIN)/python -m learn.exercise_commands reset $(EXERCISE) $(ARGS)

.PHONY: learn-solution
learn-solution: $(DONE)/project1 $(DONE)/learn ## Print the solution as a diff to your code
	@$(BIN)/python -m learn.exercise_commands solution $(EXERCISE) $(ARGS)

.PHONY: diff-1-2 diff-2-3 diff-3-4
diff-1-2: setup ## Print what project 2 adds to project 1
	@$(BIN)/python -m learn diff 1 2 $(if $(CHAPTER),--chapter "$(CHAPTER)") $(ARGS)

diff-2-3: setup ## Print what project 3 adds to project 2; `CHAPTER=vectors` for its beginning
	@$(BIN)/python -m learn diff 2 3 $(if $(CHAPTER),--chapter "$(CHAPTER)") $(ARGS)

diff-3-4: setup ## Print what project 4 adds to project 3; `CHAPTER=accounts` for one of its chapters
	@$(BIN)/python -m learn diff 3 4 $(if $(CHAPTER),--chapter "$(CHAPTER)") $(ARGS)

.PHONY: diffs
diffs: setup ## Write the differences as pages into docs/differences/ (ignored by git)
	@$(BIN)/python -m learn diffs

.PHONY: checklist
checklist: $(DONE)/project1 $(DONE)/learn ## Your check list: an item of the plan is done when its exercises are; `PLAN=1` to `6` for one stage
	@$(BIN)/python -m learn.exercise_commands checklist $(if $(PLAN),--plan $(PLAN)) $(ARGS)

.PHONY: checklist-project
checklist-project: setup ## Run the tests that show each item in this repository; `PLAN=3` for one stage of the plan
	@$(BIN)/python -m learn.practice_commands checklist $(if $(PLAN),--plan $(PLAN)) $(ARGS)

.PHONY: practice-1 practice-2 practice-3 practice-4
practice-1: setup ## Create a copy of project 1 under workbench/ with blank functions and classes to write
	@$(BIN)/python -m learn.practice_commands create 1 $(ARGS)

practice-2: setup ## The same for project 2
	@$(BIN)/python -m learn.practice_commands create 2 $(ARGS)

practice-3: setup ## The same for project 3
	@$(BIN)/python -m learn.practice_commands create 3 $(ARGS)

practice-4: setup ## The same for project 4
	@$(BIN)/python -m learn.practice_commands create 4 $(ARGS)

.PHONY: practice-check
practice-check: setup ## Test what you wrote, with hints; `PROJECT=1` to `4` for one project only
	@$(BIN)/python -m learn.practice_commands check $(if $(PROJECT),--project $(PROJECT)) $(ARGS)

.PHONY: practice-watch
practice-watch: setup ## The same whenever you save
	@$(BIN)/python -m learn.practice_commands watch $(if $(PROJECT),--project $(PROJECT)) $(ARGS)

.PHONY: practice-hint
practice-hint: setup ## Print a hint: `make practice-hint NAME=pages`; `LEVEL=2` for the outline of the solution
	@$(BIN)/python -m learn.practice_commands hint $(NAME) $(if $(LEVEL),--level $(LEVEL)) $(ARGS)

.PHONY: practice-reset
practice-reset: setup ## Make one function blank again, and keep yours in a file: `make practice-reset NAME=pages`
	@$(BIN)/python -m learn.practice_commands reset $(NAME) $(ARGS)

.PHONY: practice-show
practice-show: setup ## Print a solution as a diff to your code: `make practice-show NAME=pages`
	@$(BIN)/python -m learn.practice_commands show $(NAME) $(ARGS)

.PHONY: docs-code
docs-code: setup ## Write into the pages of docs/ what they include: cited code, commands, the recorded path of a learner
	@$(BIN)/python -m learn.included
	@$(BIN)/python -m learn.walk

.PHONY: screenshots
screenshots: setup ## Draw the pictures of the READMEs from project 4 as it runs (needs Chromium and a Chinese font)
	$(BIN)/python -m pytest -q tests/draw_screenshots.py

.PHONY: docs
docs: setup ## Build the site into site/, strictly: open site/index.html
	@$(BIN)/python -m learn diffs > /dev/null
	@NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --quiet
	@echo "The site is in site/: open site/index.html"

.PHONY: docs-serve
docs-serve: setup ## Serve the site on port 8000, and rebuild it when a file changes
	@$(BIN)/python -m learn diffs > /dev/null
	@NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs serve

##@ Set up

.PHONY: setup
setup: $(DONE)/project1 $(DONE)/project2 $(DONE)/project3 $(DONE)/project4 $(DONE)/ocr $(DONE)/embedded $(DONE)/learn $(DONE)/dev ## Make .venv and install everything (the other targets do it too)

.PHONY: lock
lock: $(DONE)/dev ## Resolve the dependencies again; `make lock ARGS=--upgrade` takes the newest
	requirements/lock.sh $(ARGS)

.PHONY: clean
clean: ## Remove .venv, caches, builds and coverage; .data, where the projects keep theirs, stays
	rm -rf .venv .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis .schemathesis .coverage coverage
	rm -rf build dist *.egg-info examples/web/node_modules examples/web/dist
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# The targets that take a variable. One that no target of the command takes is a mistake, not to be ignored.
CHAPTER_IS_FOR := run-project1 run-project2 run-project3 run-project4 diff-1-2 diff-2-3 diff-3-4
EXERCISE_IS_FOR := learn learn-hint learn-reset learn-solution
GRAPHS_IS_FOR := run-project4
LEVEL_IS_FOR := practice-hint
NAME_IS_FOR := practice-hint practice-reset practice-show
PLAN_IS_FOR := checklist checklist-project
PROJECT_IS_FOR := practice-check practice-watch
$(foreach name,CHAPTER EXERCISE GRAPHS LEVEL NAME PLAN PROJECT,$(if $(filter command,$(origin $(name))),\
$(if $(filter $($(name)_IS_FOR),$(MAKECMDGOALS)),,$(error $(if $(CHINESE),$(name)= 只用于 $($(name)_IS_FOR),$(name)= is for $($(name)_IS_FOR))))))

ifeq ($(origin STAGE),command line)
$(error $(if $(CHINESE),STAGE=$(STAGE) 已改名：大纲的阶段用 PLAN=1..6，项目用 PROJECT=1..4,STAGE=$(STAGE) is PLAN=1..6 for a stage of the study plan and PROJECT=1..4 for a project now))
endif

.PHONY: help
help: ## This list
	@awk 'BEGIN {FS = ":.*## "} \
		/^##@/ {printf "\n%s\n", substr($$0, 5)} \
		/^[a-zA-Z0-9_-]+:.*## / {printf "  make %-21s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

# A lock is installed once, and again when it changes.
$(DONE)/%: requirements/%.lock | .venv/bin/pip
	@echo "$(if $(CHINESE),正在把 requirements/$*.lock 装进 .venv（第一次最多一分钟）…,Installing requirements/$*.lock into .venv (the first time takes up to a minute) ...)"
	@CHINESE=$(CHINESE) $(BIN)/python requirements/install.py $<
	@mkdir -p $(DONE) && touch $@

.venv/bin/pip:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
		|| { echo "$(if $(CHINESE),错误：需要 Python 3.11 或更新的版本（$(PYTHON) 不满足）；可以试试 make PYTHON=python3.13 …,error: Python 3.11 or newer is needed ($(PYTHON) is older or missing); try make PYTHON=python3.13 ...)" >&2; exit 1; }
	@echo "$(if $(CHINESE),正在用 $$($(PYTHON) --version) 创建 .venv …,Making .venv with $$($(PYTHON) --version) ...)"
	@$(PYTHON) -m venv .venv > .venv.log 2>&1 && rm .venv.log \
		|| { cat .venv.log >&2; rm -rf .venv .venv.log; echo "$(if $(CHINESE),错误：$(PYTHON) 无法创建虚拟环境；在 Debian 和 Ubuntu 上先安装：apt install python3-venv,error: $(PYTHON) cannot create an environment; on Debian and Ubuntu: apt install python3-venv)" >&2; exit 1; }
