# One make file for the whole tree. Folders and files are found by their names:
#   lib/NAME/*.c               library NAME, archived; what it may use: lib/LAYERS
#   PROGRAMDIR/X_main.c        program X ("_" in X becomes "-")
#   PROGRAMDIR/*.c             objects that all programs of that folder share
#   tests/unit/NAME/test_*.c   cmocka programs for library or program folder NAME
#   tests/fuzz/fuzz_*.c        libFuzzer targets
#
# make [BUILD=DIR] [SANITIZE=1]   build into DIR (default build, build-asan)
# make unit [UNIT=NAME]           run the unit tests (of one folder)
# make check | demo | torture | lint | fuzz | install | clean

ifeq ($(wildcard config.mk),)
ifeq ($(filter clean distclean deps demo check lint format torture,$(MAKECMDGOALS)),)
$(error run ./configure first, or "make demo" which does everything)
endif
endif
-include config.mk

# Where configure was told nothing else.
BINDIR ?= $(PREFIX)/bin
SBINDIR ?= $(PREFIX)/sbin
LIBEXECDIR ?= $(PREFIX)/libexec/waypost
MANDIR ?= $(PREFIX)/share/man
DOCDIR ?= $(PREFIX)/share/doc/waypost

SANITIZE ?=
BUILD ?= $(if $(SANITIZE),build-asan,build)
Q := $(if $(V),,@)

LIBS := base task conf net ipc journal map mail route queue intake store service auth login
PROGRAM_DIRS := master smtpd qmgr smtp local imapd pop3d auth services tools

WARNINGS := -Wall -Wextra -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wpointer-arith \
	-Wwrite-strings -Wvla -Wno-unused-parameter -Werror=implicit-function-declaration
, := ,
OPTIMISE := $(if $(SANITIZE),-O1 -fsanitize=address$(,)undefined -fno-sanitize-recover=undefined -fno-omit-frame-pointer -DWAYPOST_SANITIZE,-O2 -D_FORTIFY_SOURCE=2)
ALL_CFLAGS := -std=gnu17 -g $(OPTIMISE) -fstack-protector-strong -fPIE -fvisibility=hidden \
	-ffunction-sections -fdata-sections $(WARNINGS) -D_GNU_SOURCE -Ilib -I. -I$(BUILD)/gen \
	-DWAYPOST_SYSCONFDIR='"$(SYSCONFDIR)"' -DWAYPOST_BINDIR='"$(BINDIR)"' \
	-DWAYPOST_SBINDIR='"$(SBINDIR)"' -DWAYPOST_LIBEXECDIR='"$(LIBEXECDIR)"' -DWAYPOST_MANDIR='"$(MANDIR)"' \
	$(if $(filter ucontext,$(CONTEXT)),-DTASK_CONTEXT_UCONTEXT) \
	$(if $(filter yes,$(FAULTS)),-DWAYPOST_FAULTS) $(PKG_CFLAGS) $(USER_CFLAGS) $(CFLAGS)
ALL_LDFLAGS := -pie -Wl,-z,relro,-z,now -Wl,--as-needed -Wl,--gc-sections \
	$(if $(SANITIZE),-fsanitize=address$(,)undefined) $(USER_LDFLAGS) $(LDFLAGS)
ALL_LIBS := $(PKG_LIBS) -lpthread

# deps_NAME: the libraries NAME may use, itself first, in link order.
LAYERS_MK := $(shell mkdir -p $(BUILD) && awk -F: '/^[a-z]/ { \
	split($$2, d, " "); seen = ""; line = ""; \
	for (i in d) { all[$$1] = all[$$1] " " d[i] } order[++n] = $$1 } \
	END { for (i = 1; i <= n; i++) { out = order[i]; want = " " all[order[i]] " "; \
	for (j = n; j >= 1; j--) if (index(want, " " order[j] " ")) { out = out " " order[j]; want = want all[order[j]] " " } \
	print "deps_" order[i] " := " out } }' lib/LAYERS >$(BUILD)/layers.mk; echo $(BUILD)/layers.mk)
include $(LAYERS_MK)

ALL_ARCHIVES_REVERSED := login auth service store intake queue route mail map journal ipc net conf task base
archive = $(BUILD)/lib/lib$(1).a
folder_archive = $(BUILD)/$(1)/lib$(1)-program.a
lib_sources = $(sort $(wildcard lib/$(1)/*.c))
folder_mains = $(sort $(wildcard $(1)/*_main.c))
folder_sources = $(filter-out %_main.c,$(sort $(wildcard $(1)/*.c)))
program_name = $(subst _,-,$(patsubst %_main,%,$(basename $(notdir $(1)))))
objects = $(patsubst %.c,$(BUILD)/%.o,$(1))

.PHONY: all
all:

# --- libraries and programs ---------------------------------------------------
$(BUILD)/%.o: %.c $(BUILD)/flags
	@mkdir -p $(@D)
	$(Q)$(CC) $(ALL_CFLAGS) -MMD -MP -c $< -o $@

# Objects depend on the flags they were built with.
FLAGS_TEXT := $(CC) $(ALL_CFLAGS)
$(BUILD)/flags: FORCE
	@mkdir -p $(@D)
	@printf '%s\n' '$(subst ','\'',$(FLAGS_TEXT))' | cmp -s - $@ || printf '%s\n' '$(subst ','\'',$(FLAGS_TEXT))' >$@
.PHONY: FORCE
FORCE:

define library
$(call archive,$(1)): $(call objects,$(call lib_sources,$(1)))
	@mkdir -p $$(@D)
	@rm -f $$@
	$(Q)$$(AR) rcs $$@ $$^
endef
$(foreach lib,$(LIBS),$(eval $(call library,$(lib))))

define folder
$(call folder_archive,$(1)): $(call objects,$(call folder_sources,$(1)))
	@mkdir -p $$(@D)
	@rm -f $$@
	$(Q)$$(AR) rcs $$@ $$^
endef
$(foreach dir,$(PROGRAM_DIRS),$(eval $(call folder,$(dir))))

LIB_ARCHIVES := $(foreach lib,$(ALL_ARCHIVES_REVERSED),$(call archive,$(lib)))
define program
PROGRAMS += $(BUILD)/bin/$(call program_name,$(2))
$(BUILD)/bin/$(call program_name,$(2)): $(call objects,$(2)) $(call folder_archive,$(1)) $(LIB_ARCHIVES)
	@mkdir -p $$(@D)
	@echo "  LINK $$(@F)"
	$(Q)$$(CC) $$(ALL_LDFLAGS) -o $$@ $$^ $$(ALL_LIBS)
endef
$(foreach dir,$(PROGRAM_DIRS),$(foreach main,$(call folder_mains,$(dir)),$(eval $(call program,$(dir),$(main)))))

all: $(PROGRAMS)

# --- unit tests ---------------------------------------------------------------
# A library's tests link what lib/LAYERS lets it use; a program folder's tests
# link the folder's objects and every library.
UNIT ?= $(notdir $(patsubst %/,%,$(sort $(dir $(wildcard tests/unit/*/test_*.c)))))
unit_archives = $(if $(filter $(1),$(PROGRAM_DIRS)),$(call folder_archive,$(1)) $(LIB_ARCHIVES),$(foreach lib,$(deps_$(1)),$(call archive,$(lib))))
define unit_program
UNIT_PROGRAMS_$(1) += $(BUILD)/$(basename $(2))
$(BUILD)/$(basename $(2)): $(call objects,$(2)) $(call objects,$(filter-out %_main.c,$(wildcard tests/unit/$(1)/support_*.c))) $(call unit_archives,$(1))
	$(Q)$$(CC) $$(ALL_LDFLAGS) -o $$@ $$^ $$(CMOCKA_LIBS) $$(ALL_LIBS)
endef
$(foreach dir,$(notdir $(patsubst %/,%,$(sort $(dir $(wildcard tests/unit/*/test_*.c))))),$(foreach t,$(wildcard tests/unit/$(dir)/test_*.c),$(eval $(call unit_program,$(dir),$(t)))))

# The journal's simulation needs the library with switches for its rules.
SIM_OBJECTS := $(patsubst %.c,$(BUILD)/switched/%.o,$(filter-out lib/journal/batch.c,$(call lib_sources,journal)) $(wildcard tests/sim/*.c))
$(BUILD)/switched/%.o: %.c $(BUILD)/flags
	@mkdir -p $(@D)
	$(Q)$(CC) $(ALL_CFLAGS) -DJOURNAL_RULE_SWITCHES -Itests/sim -MMD -MP -c $< -o $@
$(BUILD)/tests/sim/test_simulation: $(SIM_OBJECTS) $(call archive,base)
	@mkdir -p $(@D)
	$(Q)$(CC) $(ALL_LDFLAGS) -o $@ $^ $(CMOCKA_LIBS) $(ALL_LIBS)
UNIT_PROGRAMS_journal += $(BUILD)/tests/sim/test_simulation

.PHONY: unit unit-programs
unit-programs: $(foreach dir,$(UNIT),$(UNIT_PROGRAMS_$(dir)))
unit: unit-programs
	@tests/run-unit $(sort $(foreach dir,$(UNIT),$(UNIT_PROGRAMS_$(dir))))

# --- fuzz targets (clang) -------------------------------------------------------
.PHONY: fuzz
FUZZ_TARGETS := $(patsubst tests/fuzz/%.c,%,$(wildcard tests/fuzz/fuzz_*.c))
# Program folders whose sessions have a target.
FUZZ_FOLDERS := smtpd smtp
FUZZ_SOURCES = $(foreach lib,$(LIBS),$(call lib_sources,$(lib))) $(foreach dir,$(FUZZ_FOLDERS),$(call folder_sources,$(dir)))
build-fuzz/%.o: %.c
	@mkdir -p $(@D)
	$(Q)$(FUZZ_CC) $(filter-out -O2 -D_FORTIFY_SOURCE=2,$(ALL_CFLAGS)) -O1 -DWAYPOST_SANITIZE -fsanitize=fuzzer-no-link,address,undefined -MMD -MP -c $< -o $@
build-fuzz/libwaypost.a: $(patsubst %.c,build-fuzz/%.o,$(FUZZ_SOURCES))
	$(Q)rm -f $@; $(AR) rcs $@ $^
build-fuzz/%: build-fuzz/tests/fuzz/%.o build-fuzz/libwaypost.a
	$(Q)$(FUZZ_CC) -fsanitize=fuzzer,address,undefined -o $@ $^ $(ALL_LIBS)
# imapd's names are its own: its objects come first, and only here.
FUZZ_IMAPD := $(patsubst %.c,build-fuzz/%.o,$(call folder_sources,imapd))
build-fuzz/fuzz_imapd_%: build-fuzz/tests/fuzz/fuzz_imapd_%.o $(FUZZ_IMAPD) build-fuzz/libwaypost.a
	$(Q)$(FUZZ_CC) -fsanitize=fuzzer,address,undefined -o $@ $^ $(ALL_LIBS)
fuzz: $(addprefix build-fuzz/,$(FUZZ_TARGETS))
.SECONDARY:

-include $(shell find $(BUILD) build-fuzz -name '*.d' 2>/dev/null)

# --- everything else ------------------------------------------------------------
-include tests/tests.mk
-include man/man.mk
-include conf/install.mk

.PHONY: clean distclean
clean:
	rm -rf build build-asan build-fuzz
distclean: clean
	rm -f config.mk
