# chatcrypt: `make` builds with the PostgreSQL that PG_CONFIG names; see README.md.
# The targets that test, fuzz and measure are in the .mk files that are included below.
EXTENSION = chatcrypt
EXTVERSION := $(shell sed -n "s/^default_version = '\(.*\)'/\1/p" chatcrypt.control)

MODULE_big = chatcrypt
SOURCES := $(wildcard src/core/*.c src/kms/*.c src/kms/*/*.c src/worker/*.c src/pg/*.c src/pg/*/*.c)
OBJS = $(SOURCES:.c=.o)

# A second library, of one file, for servers where the first is not loaded.
MODULES = chatcrypt_guard
vpath chatcrypt_guard.c src/guard

DATA_built = sql/chatcrypt--$(EXTVERSION).sql
EXTRA_CLEAN = build/deb build/*.deb $(wildcard src/*/*.o src/*/*/*.o)

# PostgreSQL's own headers cause warnings with -Wextra, so they count as system headers.
PG_CPPFLAGS = -Isrc -isystem $(includedir_server)
PG_CFLAGS = -Wextra
SHLIB_LINK = -lcurl -lsodium -lssl -lcrypto -Wl,--version-script=src/exports.map -Wl,-Bsymbolic

# Symbols are bound when the library is loaded, even if PostgreSQL was built otherwise: the lazy
# look-up of the dynamic linker saves vector registers on the stack, and these can hold keys.
SHLIB_LINK += -Wl,-z,relro,-z,now

# PostgreSQL was configured for gcc, and clang does not know all of its warnings and options.
ifneq (,$(findstring clang,$(shell $(CC) --version 2>/dev/null)))
PG_CFLAGS += -Wno-unknown-warning-option -Wno-ignored-optimization-argument
endif

# No bitcode is built.  With it the JIT could copy our functions into code of its own, where they
# gain nothing (they work on this library's statics) and our care for what stays on the stack
# no longer holds; and every file would be compiled twice.
override with_llvm = no

# pg_regress finds test/sql and, in its default output folder, expected/.
REGRESS = $(sort $(basename $(notdir $(wildcard test/sql/*.sql))))
REGRESS_OPTS = --inputdir=test
ISOLATION = $(sort $(basename $(notdir $(wildcard test/isolation/specs/*.spec))))
ISOLATION_OPTS = --inputdir=test/isolation
TAP_TESTS = 1
PROVE_TESTS = test/t/*.pl

PG_CONFIG ?= pg_config
PGXS := $(shell $(PG_CONFIG) --pgxs)
include $(PGXS)

PG_PROVE_FLAGS += -I test/t/lib

# Debian's PostgreSQL is built without --enable-depend.
$(OBJS) $(MODULES:=.o): $(wildcard src/*/*.h src/*/*/*.h) Makefile

sql/chatcrypt--$(EXTVERSION).sql: $(sort $(wildcard sql/[0-9][0-9]_*.sql)) chatcrypt.control
	cat $(filter %.sql,$^) > $@

# The rules of the layers that a compiler cannot enforce: scripts/lint lists them.
all: lint
.PHONY: lint deb dist
lint:
	@scripts/lint

deb: all
	@PG_CONFIG='$(PG_CONFIG)' MAKE='$(MAKE)' scripts/deb

# The source package for PGXN, from what is committed, with the version filled in.
DIST = chatcrypt-$(EXTVERSION)
dist:
	@mkdir -p build
	sed 's/@VERSION@/$(EXTVERSION)/' META.json > build/META.json
	git archive --format=zip --prefix=$(DIST)/ --add-file=build/META.json --output=build/$(DIST).zip HEAD

include $(wildcard test/*/*.mk bench/*/*.mk)
