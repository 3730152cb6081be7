# Builds the package with an OpenWrt SDK. Written from OpenWrt's documentation and
# sources; NOT RUN here yet, since no SDK was at hand.
#
#     make -f openwrt-sdk.mk sdk SDK=/path/to/openwrt-sdk-24.10.x-ramips-rt305x_…
#
# SDK is an unpacked SDK of the release and target that the package is for. The result
# lies in SDK/bin/packages/. NO_DEPS=1 keeps the SDK from building Python, OpenSSL and
# their own dependencies: the package takes them from the feed when it is installed.

PYTHON ?= python3
PACKAGE := fonshare-agent
HERE := $(CURDIR)
VENDORED := $(HERE)/build/vendored
LIST := $(HERE)/package/$(PACKAGE)/vendored.txt

.DEFAULT_GOAL := help
.PHONY: help sdk vendored

help: ## this list
	@awk -F ' *:.*## *' '/^[a-z-]+:.*## / { printf "make -f openwrt-sdk.mk %-10s %s\n", \
		$$1, $$2 }' $(firstword $(MAKEFILE_LIST))

vendored: ## fetch the libraries that no feed has, by version and hash
	rm -rf $(VENDORED)
	$(PYTHON) -m pip --disable-pip-version-check install --quiet --no-deps \
		--no-binary :all: --no-compile --require-hashes --target $(VENDORED) -r $(LIST)

sdk: vendored ## build the package in SDK
	@test -x "$(SDK)/scripts/feeds" || { echo "SDK=FOLDER names no SDK" >&2; exit 1; }
	cp "$(SDK)/feeds.conf.default" "$(SDK)/feeds.conf"
	echo "src-link fonshare $(HERE)/package" >> "$(SDK)/feeds.conf"
	cd "$(SDK)" && ./scripts/feeds update -a
	cd "$(SDK)" && ./scripts/feeds install -p fonshare -f $(PACKAGE)
	$(MAKE) -C "$(SDK)" defconfig
	$(MAKE) -C "$(SDK)" package/$(PACKAGE)/compile V=s NO_DEPS=1 \
		FONSHARE_VENDORED=$(VENDORED)
	find "$(SDK)/bin/packages" -name '$(PACKAGE)*'
