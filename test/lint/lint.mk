.PHONY: lint-test
lint-test:
	@$(PERL) test/lint/lint.t
