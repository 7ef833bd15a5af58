# `make bench-kms` measures changes of KMS keys with an OpenBao of its own: see bench/kms/run,
# which `make` is not needed for.

.PHONY: bench-kms

bench-kms:
	PG_CONFIG='$(PG_CONFIG)' bench/kms/run $(BENCH_KMS_OPTIONS)
