# A stand-in for OpenWrt's package.mk. `make show` prints a package's metadata, `make
# install` runs its recipes into STAND_IN_OUT/root. As there, Package/NAME is expanded
# by `eval`, and so are the recipes. Written from facts, not from its code; for tests.
FIELDS := SECTION CATEGORY SUBMENU TITLE PKGARCH USERID DEPENDS
NUMBERS := PKG_NAME PKG_VERSION PKG_RELEASE PKG_LICENSE

define Recipes
show:
	@:

install:
$(Build/Prepare)
$(Build/Configure)
$(Build/Compile)
$(call Package/$(1)/install,$(STAND_IN_OUT)/root)
endef

define BuildPackage
$(eval $(Package/$(1)))
$(eval $(call Recipes,$(1)))
$(if $(filter show,$(MAKECMDGOALS)),
  $(foreach name,$(NUMBERS) $(FIELDS),$(info $(name)=$(strip $($(name)))))
  $(info conffiles=$(strip $(Package/$(1)/conffiles)))
  $(info description=$(strip $(Package/$(1)/description))))
endef

.PHONY: show install
