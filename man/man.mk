# man/main.cf.5 is made from the parameter table: "make man" after a change of
# lib/conf/params_*.c; tools/lint-params tells when it is not current.
$(BUILD)/man/params: $(call objects,man/params.c) $(call archive,conf) $(call archive,base)
	@mkdir -p $(@D)
	$(Q)$(CC) $(ALL_LDFLAGS) -o $@ $^ -lpthread

.PHONY: man
man: $(BUILD)/man/params
	$< >man/main.cf.5.new
	mv man/main.cf.5.new man/main.cf.5
