# Builds and installs the extension with PGXS, and runs everything a person needs:
#
#   make demo             see it work: private server, stand-ins for Stripe and Resend
#   make check            unit, regress, isolation, oracle and TAP tests on private servers
#   make check-examples   the example applications, end to end
#   make check-users      suites as an application's authors write them: Django, pytest
#   make check-drivers    the contract through real clients and PgBouncer; writes docs/drivers.md
#   make check-sanitizers the core's tests and fuzz targets under ASan, UBSan and TSan
#   make check-memory     assertions, valgrind and sanitizers, on a PostgreSQL 18 it builds
#   make check-all        the suites on every major of PostgreSQL that can be had, pg_upgrade
#   make check-fresh      demo and check on a bare Debian 12
#   make fuzz             fuzz the core's parsers; FUZZ_SECONDS=3600 for an hour each
#   make soak             the proofs of counting and delivery for hours: races, crashes, load
#   make coverage         what the suites execute of each room; details in build/coverage
#   make bench            figures of counting and delivery, in bench/results.md
#   make lint             format, static analysis and the project's own rules
#   make && make install  for the PostgreSQL that PG_CONFIG names
#
# All but the last install missing Debian packages first (they say which).

EXTENSION = skene_gate
MODULE_big = skene_gate

PG_CONFIG ?= pg_config

core_sources = $(sort $(wildcard src/core/*.cpp))
server_sources = $(sort $(wildcard src/server/*.cpp src/settings/*.cpp src/engine/*.cpp src/gate/*.cpp \
	src/outbox/*.cpp src/worker/*.cpp src/webhooks/*.cpp))
OBJS = $(core_sources:.cpp=.o) $(server_sources:.cpp=.o)

# The install script, in the order its parts build on each other.
schema_parts = $(addprefix src/schema/, guard.sql tables.sql gate.sql engine.sql customers.sql \
	apply.sql consent.sql templates.sql prompts.sql mail.sql preview.sql outbox.sql lease.sql settle.sql \
	operation.sql reset.sql stripe.sql views.sql roles.sql columns.sql closing.sql)
# Steps between versions: src/schema/steps/1.0--1.1.sql and so on, with the same ending.
steps = $(notdir $(wildcard src/schema/steps/*.sql))
DATA_built = skene_gate--1.0.sql $(addprefix skene_gate--,$(steps))

REGRESS = $(basename $(notdir $(sort $(wildcard sql/*.sql))))
ISOLATION = $(basename $(notdir $(sort $(wildcard test/isolation/specs/*.spec))))
ISOLATION_OPTS = --inputdir=test/isolation --load-extension=skene_gate

EXTRA_CLEAN = $(DATA_built) src/core/*.d $(server_sources:.cpp=.d)

# Targets that only run scripts, which call make again for what they build. They
# must work before anything is installed, and PGXS has a `check` of its own.
scripts = demo check check-examples check-users check-drivers check-sanitizers check-memory \
	check-all check-fresh fuzz soak bench coverage lint packages format
ifneq ($(filter $(scripts),$(MAKECMDGOALS)),)

.PHONY: $(scripts)
packages:
	@test/harness/packages

demo: packages
	@examples/demo/run

check: packages
	@test/harness/check

check-examples: packages
	@test/harness/check-examples

check-users: packages
	@test/harness/check-users

check-drivers: packages
	@test/harness/check-drivers

check-fresh:
	@test/harness/check-fresh

check-all: packages
	@test/harness/check-all

fuzz: packages
	@test/fuzz/run

check-sanitizers: packages
	@test/harness/check-sanitizers

lint: packages
	@test/lint/run

check-memory: packages
	@test/harness/check-memory

soak: packages
	@test/harness/soak

bench: packages
	@bench/run

coverage: packages
	@test/harness/coverage

format:
	clang-format -i --style=file src/*/*.[ch]pp test/*/*.[ch]pp bench/*.cpp

else

PGXS := $(shell $(PG_CONFIG) --pgxs)
ifeq ($(wildcard $(PGXS)),)
$(error PGXS not found: set PG_CONFIG, or install postgresql-server-dev; `make demo` and `make check` install it)
endif

# JIT inlining has nothing to gain here, and PGXS compiles bitcode without our flags.
override with_llvm = no
SHLIB_LINK = -lcurl -lcrypto -lstdc++ -Wl,--version-script=src/exports.map
include $(PGXS)

warnings = -Wall -Wextra -Werror
common_flags = -std=gnu++20 $(warnings) -O2 -g -fPIC -fvisibility=hidden \
	-fvisibility-inlines-hidden -Isrc -MMD -MP $(COPT)

# The core never sees the server's headers; the PostgreSQL half has no exceptions.
src/core/%.o: src/core/%.cpp
	$(CXX) $(common_flags) -c -o $@ $<

server_flags = $(common_flags) -fno-exceptions -fno-rtti -fwrapv -fno-strict-aliasing \
	-isystem $(shell $(PG_CONFIG) --includedir-server)
$(server_sources:.cpp=.o): %.o: %.cpp
	$(CXX) $(server_flags) -c -o $@ $<

$(OBJS): | two-halves
.PHONY: two-halves
two-halves:
	@sh src/halves.sh

-include $(wildcard src/*/*.d)

skene_gate--1.0.sql: $(schema_parts)
	cat $^ > $@

skene_gate--%.sql: src/schema/steps/%.sql src/schema/closing.sql
	cat $^ > $@

# What a package of version 1.1 would hold, for the test of upgrades (test/upgrade).
next = $(addprefix build/next/,skene_gate.control skene_gate--1.1.sql skene_gate--1.0--1.1.sql skene_gate.so)
.PHONY: next
next: $(next)
$(next): | build/next
build/next:
	mkdir -p $@
build/next/skene_gate.control: skene_gate.control
	sed "s/^default_version.*/default_version = '1.1'/" $^ > $@
build/next/skene_gate--1.1.sql: test/upgrade/1.1.pl skene_gate--1.0.sql
	perl $^ > $@
build/next/skene_gate--1.0--1.1.sql: test/upgrade/1.0--1.1.sql src/schema/closing.sql
	cat $^ > $@
build/next/skene_gate.so: $(OBJS)
	$(CXX) $(server_flags) -DSKENE_SQL_VERSIONS='"1.1"' -c -o build/next/extension.o src/server/extension.cpp
	$(CXX) -shared -o $@ $(filter-out %/extension.o,$(OBJS)) build/next/extension.o $(LDFLAGS) $(SHLIB_LINK)
endif
