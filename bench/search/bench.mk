# `make bench-search` measures search: see bench/search/run, which `make` is not needed for.

.PHONY: bench-search

bench-search:
	PG_CONFIG='$(PG_CONFIG)' bench/search/run $(BENCH_SEARCH_OPTIONS)
