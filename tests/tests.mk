# What the tests and checks need; included by the Makefile.
.PHONY: check demo torture lint format system bench bench-programs

# Everything that fits 15 minutes: unit tests (plain and with sanitizers), the
# system tests as root and unprivileged. Installs what is missing.
check:
	@tests/check

# Real mail through the whole suite, told step by step. KEEP=1 leaves it running.
demo:
	@tests/demo

torture:
	@tests/torture

lint:
	@tools/lint

format:
	clang-format -i $(shell git ls-files '*.c' '*.h')

# Beside Postfix and Dovecot, where the harness is: one table, under 15 minutes.
bench: all
	@tests/bench/run

# What single libraries cost, without a suite around them: bin/bench-store DIR, bin/bench-ipc.
$(BUILD)/bin/bench-%: $(BUILD)/tests/bench/bench_%.o $(LIB_ARCHIVES)
	@mkdir -p $(@D)
	$(Q)$(CC) $(ALL_LDFLAGS) -o $@ $^ $(ALL_LIBS)
bench-programs: $(patsubst tests/bench/bench_%.c,$(BUILD)/bin/bench-%,$(wildcard tests/bench/bench_*.c))

system: all
	/usr/bin/python3 -m pytest -q tests/system

# Services that only tests use.
$(BUILD)/bin/test-%: $(BUILD)/tests/programs/%_main.o $(LIB_ARCHIVES)
	@mkdir -p $(@D)
	$(Q)$(CC) $(ALL_LDFLAGS) -o $@ $^ $(ALL_LIBS)
all: $(patsubst tests/programs/%_main.c,$(BUILD)/bin/test-%,$(wildcard tests/programs/*_main.c))
