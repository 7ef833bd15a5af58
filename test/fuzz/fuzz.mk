# Fuzzing of the parsers of src/core and src/kms: `make fuzz` runs each test/fuzz/fuzz_*.c for
# FUZZ_SECONDS, two at a time.  Each is one program, linked with all of both.  What is built and
# what is found lies in build/fuzz.  The inputs that a target begins with are made from test/vectors,
# or are in test/fuzz/corpus where no vector has its form.

FUZZ_SECONDS = 30
FUZZ_JOBS = 2
FUZZ_CC = clang
FUZZ_DIR = build/fuzz
FUZZ_TARGETS := $(patsubst test/fuzz/%.c,%,$(wildcard test/fuzz/fuzz_*.c))
FUZZ_OBJS := $(patsubst %.c,$(FUZZ_DIR)/%.o,$(wildcard src/core/*.c src/kms/*.c src/kms/*/*.c))
FUZZ_HEADERS := $(wildcard src/core/*.h src/kms/*.h src/kms/*/*.h test/fuzz/*.h)
FUZZ_LIBS = -lsodium -lcrypto -lpthread

FUZZ_CFLAGS = -std=c11 -D_GNU_SOURCE -g -O1 -Isrc -Itest/fuzz -Wall -Wextra -fno-omit-frame-pointer \
	-fsanitize=fuzzer-no-link,address,undefined -fno-sanitize-recover=all

.PHONY: fuzz fuzz-build fuzz-clean

fuzz: fuzz-build
	@test/fuzz/run $(FUZZ_DIR) $(FUZZ_SECONDS) $(FUZZ_JOBS) $(FUZZ_TARGETS)

fuzz-build: $(addprefix $(FUZZ_DIR)/,$(FUZZ_TARGETS)) $(FUZZ_DIR)/seeds

$(FUZZ_DIR)/seeds: test/fuzz/make_corpus.py $(wildcard test/vectors/*.json test/reference/*.py)
	rm -rf $@ && /usr/bin/python3 -B $< $@.new && mv $@.new $@

$(FUZZ_DIR)/fuzz_%: $(FUZZ_DIR)/test/fuzz/fuzz_%.o $(FUZZ_OBJS)
	$(FUZZ_CC) $(FUZZ_CFLAGS) -fsanitize=fuzzer -o $@ $^ $(FUZZ_LIBS)

$(FUZZ_DIR)/%.o: %.c $(FUZZ_HEADERS)
	@mkdir -p $(@D)
	$(FUZZ_CC) $(FUZZ_CFLAGS) -c -o $@ $<

.PRECIOUS: $(FUZZ_DIR)/%.o

fuzz-clean:
	rm -rf $(FUZZ_DIR)
clean: fuzz-clean
