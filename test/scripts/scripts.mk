.PHONY: supervise-test
supervise-test:
	@$(PERL) test/scripts/supervise.t
