# Libraries that TAP tests load by their path, and nobody installs.
installcheck: build/test/shards.so

build/test/%.so: test/modules/%.c
	@mkdir -p $(@D)
	$(CC) $(CFLAGS) -fPIC -shared $(CPPFLAGS) -isystem $(includedir_server) -o $@ $<
