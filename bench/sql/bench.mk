# `make bench-sql` measures the extension in a server of its own and writes docs/performance.md:
# see bench/sql/run, which `make` is not needed for.

.PHONY: bench-sql

bench-sql:
	PG_CONFIG='$(PG_CONFIG)' bench/sql/run $(BENCH_SQL_OPTIONS)

# A copying function to compare with: loaded by path, never installed.
build/bench/bench_sql.so: bench/sql/bench_sql.c
	@mkdir -p $(@D)
	$(CC) $(CFLAGS) -fPIC -shared $(CPPFLAGS) -isystem $(includedir_server) -o $@ $<
