# What is built with OpenWrt's own tools: packages with an SDK, an image with an
# ImageBuilder. Written from OpenWrt's documentation and sources; NOT RUN here with real
# ones, since none was at hand: the tests run it with stand-ins. What the Makefiles of the
# packages make in OpenWrt's own build files was looked at (decision 0133).
#
#     make sdk SDK=PLACE             make image IMAGEBUILDER=PLACE
#
# PLACE is a folder, an archive or an address at OpenWrt's downloads, of the release and
# target that the result is for (the Fonera 2.0n: ramips/rt305x).

OPENWRT_PACKAGES := $(sort $(patsubst package/%/Makefile,%,$(wildcard package/*/Makefile)))
PROFILE ?= fon_fonera-20n
IMAGE_MAX_KIB ?= 7872# the Fonera's firmware partition
# What must be left of it for settings, those of the extroot above all: eight blocks of the
# flash. JFFS2 mounts nothing with fewer than five, and keeps some of them free.
IMAGE_ROOM_KIB ?= 512
IMAGE_PACKAGES = $(shell sed '/^\#/d' package/bootstrap.txt)

.PHONY: sdk image

# NO_DEPS keeps the SDK from building Python, OpenSSL and what they need: the package
# takes them from the feed when it is installed. Of LuCI it does need po2lmo and jsmin.
sdk: venv ## the packages, built by an OpenWrt SDK (SDK=FOLDER or URL)
	@test -n "$(SDK)" || { echo "SDK=FOLDER, ARCHIVE or URL is missing" >&2; exit 1; }
	$(BIN)/python tools/vendored.py
	@set -e; sdk=$$($(BIN)/python tools/openwrt_archive.py "$(SDK)"); \
	test -x "$$sdk/scripts/feeds" || { echo "$$sdk is no SDK" >&2; exit 1; }; \
	cp "$$sdk/feeds.conf.default" "$$sdk/feeds.conf"; \
	echo "src-link fonshare $(CURDIR)/package" >> "$$sdk/feeds.conf"; \
	cd "$$sdk"; \
	./scripts/feeds update -a; \
	for name in $(OPENWRT_PACKAGES); do \
		./scripts/feeds install -p fonshare -f $$name; \
		echo "CONFIG_PACKAGE_$$name=m" >> .config; \
	done; \
	$(MAKE) defconfig; \
	$(MAKE) package/luci-base/host/compile V=s; \
	for name in $(OPENWRT_PACKAGES); do \
		$(MAKE) package/$$name/compile V=s NO_DEPS=1 \
			FONSHARE_VENDORED=$(CURDIR)/build/vendored; \
	done; \
	find bin/packages -name 'fonshare-*' -o -name 'luci-*-fonshare*'

image: venv ## firmware that can move to a USB disk (IMAGEBUILDER=FOLDER or URL)
	@test -n "$(IMAGEBUILDER)" \
		|| { echo "IMAGEBUILDER=FOLDER, ARCHIVE or URL is missing" >&2; exit 1; }
	@set -e; builder=$$($(BIN)/python tools/openwrt_archive.py "$(IMAGEBUILDER)"); \
	rm -rf build/image; mkdir -p build/image; \
	$(MAKE) -C "$$builder" image PROFILE="$(PROFILE)" PACKAGES="$(IMAGE_PACKAGES)" \
		BIN_DIR="$(CURDIR)/build/image"; \
	for image in build/image/*-sysupgrade.bin; do \
		test -e "$$image" || { echo "no image: too large, or no such PROFILE" >&2; exit 1; }; \
		size=$$(( ($$(wc -c < "$$image") + 1023) / 1024 )); \
		echo "$$image: $$size of $(IMAGE_MAX_KIB) KiB"; \
		test "$$(( size + $(IMAGE_ROOM_KIB) ))" -le $(IMAGE_MAX_KIB) || { \
			echo "too large: $(IMAGE_ROOM_KIB) KiB are needed for settings;" \
				"try IMAGE_PACKAGES='$(IMAGE_PACKAGES) -luci'" >&2; \
			exit 1; \
		}; \
	done
