# `make bench-actor` measures queries under an actor: see bench/actor/run, which `make` is not needed for.

.PHONY: bench-actor

bench-actor:
	PG_CONFIG='$(PG_CONFIG)' bench/actor/run $(BENCH_ACTOR_OPTIONS)
