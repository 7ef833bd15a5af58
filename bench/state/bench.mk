# `make bench-state` measures what a monitor and doctor() take: see bench/state/run, which `make` is not needed for.

.PHONY: bench-state

bench-state:
	PG_CONFIG='$(PG_CONFIG)' bench/state/run $(BENCH_STATE_OPTIONS)
