# A stand-in for OpenWrt's package.mk. `make install` runs a package's recipes into
# STAND_IN_OUT/root, `make metadata` writes each of its fields and texts as a file into
# STAND_IN_OUT/metadata. As there, Package/NAME is expanded by `eval`, and so are the
# recipes. Written from facts, not from its code.
FIELDS := NAME VERSION DEPENDS SOURCE LICENSE LICENSE_FILES SECTION CATEGORY SUBMENU \
	TITLE USERID URL MAINTAINER PKGARCH
TEXTS := description conffiles preinst postinst prerm postrm

# What a package need not say.
VERSION := $(PKG_VERSION)-r$(PKG_RELEASE)
SOURCE := feeds/fonshare/$(notdir $(CURDIR))
LICENSE := $(PKG_LICENSE)
LICENSE_FILES := $(PKG_LICENSE_FILES)
MAINTAINER := $(PKG_MAINTAINER)

define Recipes
metadata:
	@:

install:
$(Build/Prepare)
$(Build/Configure)
$(Build/Compile)
$(call Package/$(1)/install,$(STAND_IN_OUT)/root)
endef

define BuildPackage
$(eval NAME := $(1))
$(eval $(Package/$(1)))
$(eval $(call Recipes,$(1)))
$(if $(filter metadata,$(MAKECMDGOALS)),
  $(foreach name,$(FIELDS),$(file >$(STAND_IN_OUT)/metadata/$(name),$(strip $($(name)))))
  $(foreach name,$(TEXTS),$(if $(Package/$(1)/$(name)),\
    $(file >$(STAND_IN_OUT)/metadata/$(name),$(Package/$(1)/$(name))))))
endef

.PHONY: metadata install
