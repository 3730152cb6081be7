# FonShare's tasks; `make help` lists them. Needs Python 3.11 or later and GNU make;
# everything else is fetched into .venv, and Debian packages by `make deps` where it may.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
BEGAN := $(shell date +%s)
# pytest's workers: many tests wait for nodes that wait for each other, so four keep two
# cores busy. `make test JOBS=0` runs all in one process.
JOBS ?= 4
PYTEST := $(BIN)/python -m pytest -n $(JOBS) --dist worksteal

# Runs $(2), prints how long `make` has been at it, and passes on its exit status.
timed = @status=0; { $(2); } || status=$$?; \
	echo "make $(1): $$(( $$(date +%s) - $(BEGAN) )) s"; exit $$status

.DEFAULT_GOAL := help
.PHONY: help venv deps run lint lint-js format test test-full bench bench-broker \
	bench-distribution bench-ftp bench-household bench-limits bench-links \
	bench-startup bench-transfer soak rootfs vm ipk bundle luci-files words pictures \
	clean

help: ## this list
	@awk -F ' *:.*## *' '/^[a-z-]+:.*## / { printf "make %-10s %s\n", $$1, $$2 }' \
		$(MAKEFILE_LIST)

venv: ## .venv with the agent, the development tools and the demo's broker
	$(call timed,$@,$(PYTHON) tools/environment.py $(VENV))

deps: ## install the Debian packages that the tests use, or name what is skipped
	$(call timed,$@,$(PYTHON) tools/packages.py && $(PYTHON) tools/unpacked.py \
		&& $(PYTHON) tools/rootfs.py mipsel i386 && $(PYTHON) tools/axe.py)

run: venv ## the main job, shown: three nodes share and fetch (ONCE=1, SHARE=FOLDER)
	$(call timed,$@,$(BIN)/python tools/demo.py $(if $(ONCE),--once) \
		$(if $(SHARE),--share "$(SHARE)"))

lint: venv ## ruff (rules and format), mypy --strict, and lint-js
	$(call timed,$@,$(BIN)/ruff check . && $(BIN)/ruff format --check . \
		&& $(BIN)/mypy && $(BIN)/python tools/lint_js.py)

lint-js: venv ## ESLint over the page and LuCI's views; needs node and npm
	$(call timed,$@,$(BIN)/python tools/lint_js.py)

format: venv ## let ruff mend and format the code
	$(call timed,$@,$(BIN)/ruff check --fix . ; $(BIN)/ruff format .)

test: venv deps lint ## everything fast: lint, types, and the tests (under 5 minutes)
	$(call timed,$@,$(PYTEST) -m "not full" $(ARGS))

test-full: venv deps ## the slower tier (under 20 minutes)
	$(call timed,$@,$(PYTEST) -m full --timeout 600 $(ARGS))

bench: venv ## what a node costs: the index, memory on 32 bits, growth (bench/README.md)
	$(call timed,$@,( status=0; \
		$(BIN)/python bench/index.py $(if $(FILES),--files $(FILES)) || status=1; \
		PYTHONPATH=tools $(BIN)/python bench/memory.py || status=1; \
		PYTHONPATH=tools $(BIN)/python bench/soak.py || status=1; \
		exit $$status ))

bench-distribution: venv ## one file to 4 and 8 members at once, beside others (bench/README.md)
	$(call timed,$@,PYTHONPATH=tools:tests $(BIN)/python bench/distribution.py)

bench-ftp: venv ## FTP on loopback beside vsftpd, pure-ftpd and ProFTPD, as root
	$(call timed,$@,$(PYTHON) tools/unpacked.py \
		&& PYTHONPATH=tools:tests $(BIN)/python bench/ftp.py)

bench-links: venv ## what of a line a transfer uses, and its CPU, as root
	$(call timed,$@,PYTHONPATH=tools:tests $(BIN)/python bench/links.py)

bench-transfer: venv ## how fast files come from friends (bench/README.md)
	$(call timed,$@,PYTHONPATH=tools:tests $(BIN)/python bench/transfer.py)

bench-limits: venv ## how exactly the limits of bandwidth hold (bench/README.md)
	$(call timed,$@,PYTHONPATH=tests $(BIN)/python bench/limits.py)

bench-broker: venv ## memory of the broker on a router, on 32 bits
	$(call timed,$@,PYTHONPATH=tools $(BIN)/python bench/broker.py)

bench-household: venv ## how soon transfers give way to the household, as root
	$(call timed,$@,PYTHONPATH=tools:tests $(BIN)/python bench/household.py)

bench-startup: venv ## what a start of the service costs (bench/README.md)
	$(call timed,$@,PYTHONPATH=tools $(BIN)/python bench/startup.py)

soak: venv ## whether a node grows with 10,000 commands and 1,000 transfers
	$(call timed,$@,PYTHONPATH=tools $(BIN)/python bench/soak.py)

rootfs: venv deps ## the package on emulated MIPS (ROOTFS=FOLDER or TARBALL: a real OpenWrt)
	$(call timed,$@,ROOTFS_ARCHITECTURE=mipsel ROOTFS="$(ROOTFS)" \
		$(BIN)/python -m pytest -n 0 tests/test_rootfs.py $(ARGS))

vm: venv deps ## a whole 64 MB MIPS router with USB disk, shown (PART=power, CPU=P5600)
	$(call timed,$@,$(BIN)/python tools/vm.py $(if $(CPU),--cpu $(CPU)) $(PART))

ipk: venv ## the package for OpenWrt up to 24.10, and a feed of it: build/ipk
	$(call timed,$@,$(BIN)/python tools/ipk.py)

bundle: ipk ## a folder for routers without a network: build/bundle
	$(call timed,$@,$(BIN)/python tools/bundle.py build/ipk build/bundle)

luci-files: venv ## what luci-app-fonshare holds of the tables of commands and settings
	$(call timed,$@,$(BIN)/python tools/luci_files.py)

words: venv ## the page's words for translation; lists what French lacks
	$(call timed,$@,$(BIN)/python tools/words.py && $(BIN)/python tools/cli_words.py)

pictures: venv deps ## the README's pictures, of real nodes (docs/pictures)
	$(call timed,$@,PYTHONPATH=tools $(BIN)/python tests/pictures.py)

clean: ## remove all that was built, .venv too
	rm -rf $(VENV) build dist demo src/*.egg-info .hypothesis .mypy_cache \
		.ruff_cache .pytest_cache
	find src tests tools bench -name __pycache__ -type d -prune -exec rm -rf {} +

include openwrt-sdk.mk
