# Kahe. `make` alone prints the targets.
.DEFAULT_GOAL := help
.PHONY: help run build test test-faults format lint kafka demo bench picture encoder install uninstall deb clean

SOURCES := $(shell find src -name '*.ts' 2>/dev/null)
MODULES := node_modules/.package-lock.json
CONFIG := dist/buckets.json dist/.env.dev.local
CACHE := .cache/dev

help: ## print these targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-11s %s\n", $$1, $$2 }' Makefile

run: build ## build, start the daemon on ./buckets.json and ./.env.dev.local, and say how to send it a frame and see it
	@exec sh test/demo/start.sh

build: dist/.built $(CONFIG) ## compile into dist/, with buckets.json and .env.dev.local beside it

test: build ## install what the tests need, and run them all: units, whole daemon, real Kafka, PHP
	@sh test/tools.sh all
	@sh test/kafka/fetch.sh
	@node_modules/.bin/tsx test/all.ts

test-faults: build ## every fault in full (an hour or more), and the table of what was seen
	@sh test/tools.sh all
	@sh test/kafka/fetch.sh
	@rm -f .cache/test/faults.jsonl
	@node_modules/.bin/vitest run --config vitest.faults.config.ts; status=$$?; node_modules/.bin/tsx test/faults/table.ts; exit $$status

format: $(MODULES) ## put the code into its form
	node_modules/.bin/prettier --write --log-level warn --cache --cache-location $(CACHE)/prettier .

lint: $(MODULES) ## check types, style and form; what has not changed since the last time is not looked at again
	node_modules/.bin/tsc --incremental --tsBuildInfoFile $(CACHE)/lint.tsbuildinfo
	node_modules/.bin/eslint . --max-warnings 0 --cache --cache-strategy content --cache-location $(CACHE)/eslint
	node_modules/.bin/prettier --check --log-level warn --cache --cache-location $(CACHE)/prettier .

kafka: $(MODULES) ## start a Kafka to play with on 127.0.0.1:9092 (or KAFKA_PORT), with the topic requests, until Ctrl-C
	@sh test/tools.sh kafka
	@KAFKA_PORT='$(KAFKA_PORT)' exec node_modules/.bin/tsx test/kafka/run.ts

demo: build ## show it all at work: a Kafka, the daemon, senders, an outage, a replay, and what arrived where; a page to look at until Enter
	@sh test/tools.sh kafka
	@sh test/kafka/fetch.sh
	@exec node_modules/.bin/tsx test/demo/run.ts

bench: build ## measure, and write bench/RESULTS.md
	@sh test/tools.sh kafka
	@exec npx tsx bench/run.ts

picture: build ## make docs/status-page.png anew, with Chromium
	@sh test/tools.sh all
	@sh test/kafka/fetch.sh
	@KAHE_PICTURE=docs/status-page.png node_modules/.bin/vitest run test/admin/page.test.ts -t 'one stream in backup'

encoder: $(MODULES) ## compile what encodes records to WebAssembly, after a change in src/streams/kafka/assembly
	node_modules/.bin/tsx src/streams/kafka/assembly/compile.ts

install: $(MODULES) ## install the program and its systemd units: PREFIX (/usr/local) and DESTDIR as usual; starts nothing
	@PREFIX='$(PREFIX)' DESTDIR='$(DESTDIR)' sh systemd/install.sh install

uninstall: ## take that away again; configuration and stored frames stay
	@PREFIX='$(PREFIX)' DESTDIR='$(DESTDIR)' sh systemd/install.sh uninstall

deb: $(MODULES) ## make dist/kahe_VERSION_ARCH.deb, a Debian package that brings its own Node
	@sh systemd/deb/build.sh

clean: ## remove what was built and fetched; ./data and ./rejected stay
	rm -rf dist node_modules .cache

# Installed anew when package-lock.json is newer than what npm noted of its last run.
$(MODULES): package-lock.json
	@sh test/tools.sh node
	npm ci --no-audit --no-fund
	@touch $@

# What tsc remembers lies in dist, so that it is never newer than what it made.
dist/.built: $(MODULES) $(SOURCES) tsconfig.json tsconfig.build.json
	node_modules/.bin/tsc -p tsconfig.build.json --incremental --tsBuildInfoFile dist/.tsbuildinfo
	@touch $@

# As kahego's build: `cd dist && node main.js` works too. Edit the files of this folder; they are copied when they are newer, and a changed
# copy is kept aside.
dist/%: %
	@mkdir -p dist
	@if [ -f $@ ] && ! cmp -s $< $@; then cp $@ $@.old && echo "$@ was brought up to date from $<; what it was is in $@.old"; fi
	@cp $< $@
