# SPDX-License-Identifier: GPL-2.0 OR MIT
#
# What can be done with this tree; `make help` lists it. How the driver itself is
# built stands in Kbuild.

ENV := tests/board/env
KERNEL ?= debug
PATCHES ?= yes

# The variables of the command line that the scripts look at.
export KERNEL PATCHES DRIVER CMD SHARE MEM SWAP CPUS ICOUNT TIMEOUT BOARD APPEND LOG RUN KO LONG ONLY MESA
export LINUX PANTHOR_CACHE DEBIAN_MIRROR JOBS FLAVOUR VERSION STOCK

.PHONY: all module install setup vm demo test test-mesa test-interfaces test-stock mutants bench check check-configs debian format clean prune help

ifdef KDIR

# Against any prepared kernel tree, with the tools that are installed.
KBUILD = $(MAKE) -C $(KDIR) M=$(CURDIR)

all module: rust-available
	+$(KBUILD) modules

install: rust-available
	+$(KBUILD) modules_install

clean:
	+$(KBUILD) clean

.PHONY: rust-available
rust-available:
	@LLVM='$(LLVM)' CC='$(if $(filter default undefined,$(origin CC)),,$(CC))' RUSTC='$(RUSTC)' $(ENV)/check-kdir $(KDIR)

else

all: module

module:
	@$(ENV)/setup kernel
	@$(ENV)/work-build module $(KERNEL) $(PATCHES)

install:
	@echo "make install needs KDIR=, the kernel that the module is for" >&2; exit 1

clean:
	@$(ENV)/work-build clean

endif

setup:
	@$(ENV)/setup all

vm:
	@$(ENV)/vm

# These measure: without what the debug kernel checks.
demo bench: KERNEL = fast

demo:
	@$(ENV)/setup all
	@tests/demo/run

bench:
	@$(ENV)/setup all
	@tests/bench/run

test:
	@$(ENV)/setup all
	@$(ENV)/test

test-mesa:
	@$(ENV)/setup all
	@PROGRAMS=mesa $(ENV)/test

test-interfaces:
	@$(ENV)/setup all
	@tests/board/model/test-interfaces

test-stock: KERNEL = stock
test-stock: PATCHES = no
test-stock:
	@$(ENV)/setup all
	@$(ENV)/test

mutants:
	@$(ENV)/setup all
	@tests/mutants/run

check:
	@$(ENV)/setup kernel
	@$(ENV)/check

check-configs:
	@$(ENV)/check-configs

debian:
	@$(ENV)/make-debian

format:
	@$(ENV)/setup kernel
	@$(ENV)/check --format

prune:
	@$(ENV)/prune

help:
	@sed -e 1,2d -e 's/^# \{0,1\}//' $(ENV)/help.txt
