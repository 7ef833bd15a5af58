# Tests of what is no part of the extension: scripts that run the tests, pictures of the documents.
.PHONY: scripts-test
scripts-test:
	@$(PERL) test/scripts/supervise.t
	@$(PERL) test/scripts/pictures.t
