# `make bench-attachments` measures files: see bench/attachments/run, which `make` is not needed for.

BENCH_PART = build/bench/bench_part

.PHONY: bench-attachments

bench-attachments:
	PG_CONFIG='$(PG_CONFIG)' bench/attachments/run $(BENCH_ATTACHMENTS_OPTIONS)

# With the flags that PostgreSQL is built with, so that the numbers are those of the server.
$(BENCH_PART): bench/attachments/bench_part.c $(wildcard src/core/*.c src/core/*.h)
	@mkdir -p $(@D)
	$(CC) $(CFLAGS) $(CPPFLAGS) -Isrc -o $@ bench/attachments/bench_part.c $(wildcard src/core/*.c) -lsodium -lcrypto
