# `make bench-core` measures the core by itself: see bench/core/bench_core.c.  It is built with
# the flags that PostgreSQL is built with, so that the numbers are those of the server.

BENCH_CORE = build/bench/bench_core

.PHONY: bench-core

$(BENCH_CORE): bench/core/bench_core.c $(wildcard src/core/*.c src/core/*.h)
	@mkdir -p $(@D)
	$(CC) $(CFLAGS) $(CPPFLAGS) -Isrc -o $@ bench/core/bench_core.c $(wildcard src/core/*.c) -lsodium -lcrypto

bench-core: $(BENCH_CORE)
	$(BENCH_CORE) $(ROUNDS)
