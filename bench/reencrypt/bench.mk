# `make bench-reencrypt` measures re-encryption: see bench/reencrypt/run, which `make` is not needed for.

.PHONY: bench-reencrypt

bench-reencrypt:
	PG_CONFIG='$(PG_CONFIG)' bench/reencrypt/run $(BENCH_REENCRYPT_OPTIONS)
