# make install [DESTDIR=]; included by the Makefile. Where things go is for ./configure to
# say, as the programs know it. Configuration that is there already is left alone.
CONFDIR ?= $(SYSCONFDIR)/postfix
UNITDIR ?= $(if $(filter /usr,$(PREFIX)),/lib,$(PREFIX)/lib)/systemd/system
SYSUSERSDIR ?= $(if $(filter /usr,$(PREFIX)),/usr,$(PREFIX))/lib/sysusers.d
# Where programs look for sendmail that know no other place; as Debian's postfix has it.
LIBSENDMAIL ?= $(PREFIX)/lib/sendmail
TMPFILESDIR ?= $(if $(filter /usr,$(PREFIX)),/usr,$(PREFIX))/lib/tmpfiles.d
INSTALL ?= install

# What everybody calls stands in bin, what administrators call in sbin (sendmail by old habit),
# what master starts in libexec.
INSTALL_USER_TOOLS = mailq newaliases
INSTALL_TOOLS = $(filter-out $(INSTALL_USER_TOOLS),$(foreach main,$(call folder_mains,tools),$(call program_name,$(main))))
INSTALL_SERVICES = $(foreach dir,$(filter-out tools,$(PROGRAM_DIRS)),$(foreach main,$(call folder_mains,$(dir)),$(call program_name,$(main))))

.PHONY: install
install: all
	$(INSTALL) -d $(DESTDIR)$(BINDIR) $(DESTDIR)$(SBINDIR) $(DESTDIR)$(LIBEXECDIR) $(DESTDIR)$(CONFDIR) $(DESTDIR)$(DOCDIR) \
		$(DESTDIR)$(UNITDIR) $(DESTDIR)$(SYSUSERSDIR) $(DESTDIR)$(TMPFILESDIR)
	for p in $(INSTALL_USER_TOOLS); do $(INSTALL) -m 755 $(BUILD)/bin/$$p $(DESTDIR)$(BINDIR)/ || exit 1; done
	for p in $(INSTALL_TOOLS); do $(INSTALL) -m 755 $(BUILD)/bin/$$p $(DESTDIR)$(SBINDIR)/ || exit 1; done
	$(INSTALL) -d $(dir $(DESTDIR)$(LIBSENDMAIL))
	ln -sfr $(DESTDIR)$(SBINDIR)/sendmail $(DESTDIR)$(LIBSENDMAIL)
	for p in $(INSTALL_SERVICES); do $(INSTALL) -m 755 $(BUILD)/bin/$$p $(DESTDIR)$(LIBEXECDIR)/ || exit 1; done
	for f in main.cf master.cf; do \
		[ -e $(DESTDIR)$(CONFDIR)/$$f ] || $(INSTALL) -m 644 conf/$$f $(DESTDIR)$(CONFDIR)/ || exit 1; done
	sed -e 's,@SBINDIR@,$(SBINDIR),; s,@LIBEXECDIR@,$(LIBEXECDIR),; s,@CONFDIR@,$(CONFDIR),' \
		conf/waypost.service.in >$(DESTDIR)$(UNITDIR)/waypost.service
	$(INSTALL) -m 644 conf/waypost.sysusers $(DESTDIR)$(SYSUSERSDIR)/waypost.conf
	sed -e 's,@SBINDIR@,$(SBINDIR),' conf/waypost.tmpfiles >$(DESTDIR)$(TMPFILESDIR)/waypost.conf
	$(INSTALL) -m 644 README.md ARCHITECTURE.md CHANGELOG.md LICENSE $(DESTDIR)$(DOCDIR)/
	for page in man/*.[1-9]; do [ -e $$page ] || continue; \
		$(INSTALL) -d $(DESTDIR)$(MANDIR)/man$${page##*.} && \
		$(INSTALL) -m 644 $$page $(DESTDIR)$(MANDIR)/man$${page##*.}/ || exit 1; done
	echo '.so man8/waypost.8' >$(DESTDIR)$(MANDIR)/man8/postfix.8
