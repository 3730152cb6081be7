# A stand-in for LuCI's luci.mk: an application laid out in folders (htdocs, root, ucode,
# po), and a package for each language it is translated to. Written from facts, not from
# its code. Scripts and styles are not made smaller here, as luci.mk does.
LUCI_NAME ?= $(notdir $(CURDIR))
LUCI_TYPE ?= $(word 2,$(subst -, ,$(LUCI_NAME)))
LUCI_BASENAME ?= $(patsubst luci-$(LUCI_TYPE)-%,%,$(LUCI_NAME))
LUCI_LANGUAGES := $(filter-out templates,$(notdir $(wildcard $(CURDIR)/po/*)))
LUCI_PKGARCH ?= all
LUCI_LANG.de := Deutsch (German)
LUCI_LANG.es := Español (Spanish)
LUCI_LANG.fr := Français (French)

PKG_NAME ?= $(LUCI_NAME)
PKG_RELEASE ?= 1
# There by the date of the last commit.
PKG_PO_VERSION ?= 26.001.00000~0000000
LUCI_MAINTAINER ?= OpenWrt LuCI community
LUCI_URL ?= https://github.com/openwrt/luci
I18N := /usr/lib/lua/luci/i18n

include $(INCLUDE_DIR)/package.mk

define Package/$(PKG_NAME)
  SECTION:=luci
  CATEGORY:=LuCI
  SUBMENU:=3. Applications
  TITLE:=$(if $(LUCI_TITLE),$(LUCI_TITLE),LuCI $(LUCI_NAME))
  DEPENDS:=$(LUCI_DEPENDS)
  PKGARCH:=$(LUCI_PKGARCH)
  MAINTAINER:=$(LUCI_MAINTAINER)
  URL:=$(LUCI_URL)
endef

ifneq ($(LUCI_DESCRIPTION),)
define Package/$(PKG_NAME)/description
  $(strip $(LUCI_DESCRIPTION))
endef
endif

define Build/Prepare
	mkdir -p $(PKG_BUILD_DIR)
	for folder in htdocs root ucode; do \
		[ ! -d $$$$folder ] || $(CP) $$$$folder $(PKG_BUILD_DIR)/; \
	done
endef

define Build/Configure
endef

define Build/Compile
endef

define LuciFolder
	[ ! -d $(PKG_BUILD_DIR)/$(1) ] || { $(INSTALL_DIR) $(2); $(CP) $(PKG_BUILD_DIR)/$(1)/. $(2)/; }
endef

# Modes as Git knows them, whatever the umask was.
define Package/$(PKG_NAME)/install
$(call LuciFolder,htdocs,$(1)/www)
$(call LuciFolder,root,$(1))
$(call LuciFolder,ucode,$(1)/usr/share/ucode/luci)
	chmod -R u=rwX,go=rX $(1)
endef

ifndef Package/$(PKG_NAME)/postinst
define Package/$(PKG_NAME)/postinst
[ -n "$${IPKG_INSTROOT}" ] || {
	rm -f /tmp/luci-indexcache.*
	rm -rf /tmp/luci-modulecache/
	/etc/init.d/rpcd reload 2>/dev/null
	exit 0
}
endef
endif

define Package/luci-i18n
  SECTION:=luci
  CATEGORY:=LuCI
  TITLE:=$(PKG_NAME) - $(1) translation
  DEPENDS:=$(PKG_NAME)
  VERSION:=$(PKG_PO_VERSION)
  PKGARCH:=all
endef

define Package/luci-i18n/description
  Translation for $(PKG_NAME) - $(LUCI_LANG.$(1))
endef

define Package/luci-i18n/install
	$(INSTALL_DIR) $(2)$(I18N) $(2)/etc/uci-defaults
	echo "uci set luci.languages.$(subst -,_,$(1))='$(LUCI_LANG.$(1))'; uci commit luci" \
		> $(2)/etc/uci-defaults/luci-i18n-$(LUCI_BASENAME)-$(1)
	$(foreach po,$(wildcard $(CURDIR)/po/$(1)/*.po),\
		$(PO2LMO) $(po) $(2)$(I18N)/$(basename $(notdir $(po))).$(1).lmo;)
	chmod -R u=rwX,go=rX $(2)
endef

define Translation
define Package/luci-i18n-$(LUCI_BASENAME)-$(1)
$(call Package/luci-i18n,$(1))
endef
define Package/luci-i18n-$(LUCI_BASENAME)-$(1)/description
$(call Package/luci-i18n/description,$(1))
endef
define Package/luci-i18n-$(LUCI_BASENAME)-$(1)/install
$$(call Package/luci-i18n/install,$(1),$$(1))
endef
endef

$(foreach language,$(LUCI_LANGUAGES),$(eval $(call Translation,$(language))))
$(eval $(call BuildPackage,$(PKG_NAME)))
$(foreach language,$(LUCI_LANGUAGES),\
	$(eval $(call BuildPackage,luci-i18n-$(LUCI_BASENAME)-$(language))))
