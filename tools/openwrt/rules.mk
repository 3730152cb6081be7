# A stand-in for OpenWrt's rules.mk: the few names that package Makefiles here use, with
# the meaning they have there. Written from facts, not from its code.
INCLUDE_DIR := $(TOPDIR)/include
CP := cp -fpR
INSTALL_DIR := install -d -m0755
INSTALL_BIN := install -m0755
INSTALL_CONF := install -m0600
INSTALL_DATA := install -m0644
PKG_BUILD_DIR ?= $(STAND_IN_OUT)/build
