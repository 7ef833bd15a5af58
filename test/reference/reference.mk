# The formats, held against an independent implementation.  `make reference` checks that one by
# itself and needs no compiler; `make crosscheck` then holds the C core against it.
# Debian's own Python, because python3-cryptography and python3-nacl belong to it alone.

REFERENCE_PYTHON = PYTHONDONTWRITEBYTECODE=1 /usr/bin/python3

.PHONY: reference crosscheck

reference:
	@$(REFERENCE_PYTHON) test/reference/check_reference.py

crosscheck: reference coretool
	@$(REFERENCE_PYTHON) test/reference/crosscheck.py build/unit/coretool
