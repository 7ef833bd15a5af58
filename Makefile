# chatcrypt: `make` builds with the PostgreSQL that PG_CONFIG names; see README.md.
EXTENSION = chatcrypt
EXTVERSION := $(shell sed -n "s/^default_version = '\(.*\)'/\1/p" chatcrypt.control)

MODULE_big = chatcrypt
SOURCES := $(wildcard src/core/*.c src/kms/*.c src/worker/*.c src/pg/*.c)
OBJS = $(SOURCES:.c=.o)
DATA_built = sql/chatcrypt--$(EXTVERSION).sql
EXTRA_CLEAN = sql/chatcrypt--$(EXTVERSION).sql

PG_CPPFLAGS = -Isrc
PG_CFLAGS = -Wextra -Wno-sign-compare -Wno-missing-field-initializers -fvisibility=hidden
SHLIB_LINK = -lcurl -lsodium -lcrypto

PG_CONFIG ?= pg_config
PGXS := $(shell $(PG_CONFIG) --pgxs)
include $(PGXS)

# Debian's PostgreSQL is built without --enable-depend.
$(OBJS): $(wildcard src/*/*.h)

sql/chatcrypt--$(EXTVERSION).sql: $(wildcard sql/[0-9][0-9]_*.sql) chatcrypt.control
	cat $(sort $(filter %.sql,$^)) > $@

include test/unit/unit.mk
include bench/core/bench.mk
include test/reference/reference.mk
include test/fuzz/fuzz.mk
