# A stand-in for OpenWrt's package.mk. `make install` runs the recipes of all packages
# that a Makefile builds into STAND_IN_OUT/root/PACKAGE, `make metadata` writes each of
# their fields and texts as a file into STAND_IN_OUT/metadata/PACKAGE. As there,
# Package/PACKAGE is expanded by `eval`, and so are the recipes. Written from facts, not
# from its code.
FIELDS := NAME VERSION DEPENDS SOURCE SOURCE_NAME LICENSE LICENSE_FILES SECTION CATEGORY SUBMENU \
	TITLE USERID URL MAINTAINER PKGARCH
TEXTS := description conffiles preinst postinst prerm postrm

# What a package need not say; nothing is left of the one before it.
define Defaults
$(foreach name,$(FIELDS),$(eval $(name) :=))
NAME := $(1)
VERSION := $(PKG_VERSION)-r$(PKG_RELEASE)
SOURCE := feeds/fonshare/$(notdir $(CURDIR))
SOURCE_NAME := $(PKG_NAME)
LICENSE := $(PKG_LICENSE)
LICENSE_FILES := $(PKG_LICENSE_FILES)
MAINTAINER := $(PKG_MAINTAINER)
endef

define Prepared
metadata:
	@:

prepare:
$(Build/Prepare)
$(Build/Configure)
$(Build/Compile)
endef

define Installed
install: install-$(1)
install-$(1): prepare
	mkdir -p $(STAND_IN_OUT)/root/$(1)
$(call Package/$(1)/install,$(STAND_IN_OUT)/root/$(1))
endef

define Written
$(shell mkdir -p $(STAND_IN_OUT)/metadata/$(1))
$(foreach name,$(FIELDS),$(file >$(STAND_IN_OUT)/metadata/$(1)/$(name),$(strip $($(name)))))
$(foreach name,$(TEXTS),$(if $(Package/$(1)/$(name)),\
    $(file >$(STAND_IN_OUT)/metadata/$(1)/$(name),$(Package/$(1)/$(name)))))
endef

define BuildPackage
$(eval $(call Defaults,$(1)))
$(eval $(Package/$(1)))
$(if $(Prepared.once),,$(eval $(Prepared))$(eval Prepared.once := 1))
$(eval $(call Installed,$(1)))
$(if $(filter metadata,$(MAKECMDGOALS)),$(call Written,$(1)))
endef

.PHONY: metadata prepare install
