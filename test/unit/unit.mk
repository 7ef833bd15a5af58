# Unit tests of src/core and src/kms: `make unit` builds and runs them all, under ASAN and
# UBSAN and then under valgrind.  Each test/unit/test_*.c is one program, linked with both.
# residue.c searches this process's memory for keys, and so runs without either, on the code
# of several CPUs.  Everything that is built lies in build/unit.

UNIT_DIR = build/unit
UNIT_SOURCES := $(wildcard src/core/*.c src/kms/*.c src/kms/*/*.c)
UNIT_HEADERS := $(wildcard src/core/*.h src/kms/*.h src/kms/*/*.h test/unit/*.h) $(UNIT_DIR)/envelope_vectors.h
UNIT_TESTS := $(patsubst test/unit/%.c,%,$(wildcard test/unit/test_*.c))
UNIT_LIBS = -lsodium -lcrypto -lpthread

# Bound at start, as the extension is: the dynamic linker's lazy look-up saves the vector
# registers, keys and all, on the stack.
UNIT_LDFLAGS = -Wl,-z,relro,-z,now

UNIT_WARNINGS = -Wall -Wextra -Wmissing-prototypes -Wdeclaration-after-statement -Wvla -Wshadow
UNIT_CFLAGS = -std=c11 -D_GNU_SOURCE -g -Isrc -I$(UNIT_DIR) $(UNIT_WARNINGS) $(UNIT_CFLAGS_EXTRA)
UNIT_FLAGS_asan = $(UNIT_CFLAGS) -O1 -fsanitize=address,undefined -fno-sanitize-recover=all -fno-omit-frame-pointer
UNIT_FLAGS_plain = $(UNIT_CFLAGS) -O2 -D_FORTIFY_SOURCE=2 -fstack-protector-strong

# Counts compressions.
UNIT_LDFLAGS_test_kdf = -Wl,--wrap=SHA256_Transform

# Looks at blocks on their way to free().
UNIT_LDFLAGS_test_wipingmemory = -Wl,--wrap=free

UNIT_VALGRIND = valgrind --quiet --error-exitcode=99 --leak-check=full --show-leak-kinds=definite,indirect

# OpenSSL's code for CPUs without SHA-NI; without AVX2 as well; without any AVX; without AES-NI.
# Other architectures ignore it.
UNIT_OTHER_CPUS = :~0x20000000 :~0x20000020 ~0x1000000000000000:~0x20000020 ~0x200000200000000

.PHONY: unit unit-build coretool

unit-build: $(foreach t,$(UNIT_TESTS),$(UNIT_DIR)/asan/$(t) $(UNIT_DIR)/plain/$(t)) $(UNIT_DIR)/plain/residue

unit: unit-build
	@failed=0; \
	for t in $(UNIT_TESTS); do test/unit/run $$t asan $(UNIT_DIR)/asan/$$t || failed=1; done; \
	for t in $(UNIT_TESTS); do test/unit/run $$t valgrind $(UNIT_VALGRIND) $(UNIT_DIR)/plain/$$t || failed=1; done; \
	test/unit/run residue "this cpu" $(UNIT_DIR)/plain/residue || failed=1; \
	for cpu in $(UNIT_OTHER_CPUS); do \
		OPENSSL_ia32cap=$$cpu test/unit/run residue "cpu $$cpu" $(UNIT_DIR)/plain/residue || failed=1; done; \
	exit $$failed

coretool: $(UNIT_DIR)/coretool

$(UNIT_DIR)/coretool: $(UNIT_DIR)/asan/coretool
	cp $< $@

$(UNIT_DIR)/envelope_vectors.h: test/unit/vectors_to_c.py test/vectors/envelope.json
	@mkdir -p $(UNIT_DIR)
	python3 test/unit/vectors_to_c.py test/vectors/envelope.json > $@.tmp
	mv $@.tmp $@

# One set of rules for each way of building.
define unit_rules
$(UNIT_DIR)/$(1)/%.o: %.c $(UNIT_HEADERS)
	@mkdir -p $$(@D)
	$(CC) $$(UNIT_FLAGS_$(1)) -c -o $$@ $$<

.PRECIOUS: $(UNIT_DIR)/$(1)/%.o

$(UNIT_DIR)/$(1)/%: $(UNIT_DIR)/$(1)/test/unit/%.o $(patsubst %.c,$(UNIT_DIR)/$(1)/%.o,$(UNIT_SOURCES))
	$(CC) $$(UNIT_FLAGS_$(1)) -o $$@ $$^ $(UNIT_LDFLAGS) $$(UNIT_LDFLAGS_$$*) $(UNIT_LIBS)
endef
$(foreach way,asan plain,$(eval $(call unit_rules,$(way))))

unit-clean:
	rm -rf $(UNIT_DIR)
clean: unit-clean
