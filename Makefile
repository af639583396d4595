# The thin face of the build: meson and ninja do the work, into build/, installed into build/dist/.
BUILD := build
DIST := $(CURDIR)/$(BUILD)/dist
QUERN := $(DIST)/bin/quern

.PHONY: all build demo test soak bench fmt fmt-check lint clean packages

all: build

packages:
	@scripts/install-packages build run

$(BUILD)/build.ninja:
	@meson setup $(BUILD) --prefix=$(DIST) --libexecdir=libexec >/dev/null || { tail -n 5 $(BUILD)/meson-logs/meson-log.txt; exit 1; }

build: packages $(BUILD)/build.ninja
	@scripts/compile $(BUILD) product
	@meson install -C $(BUILD) --quiet --no-rebuild
	@images/assemble.sh $(DIST)/libexec/quern/images $(BUILD)/images/xgboost/quern-xgboost
	@scripts/jsonata $(DIST)/libexec/quern

# Installs, builds, starts, and runs the article's pipeline for real.
demo: build
	@scripts/demo $(QUERN)

# Everything. TESTS="unit api" runs some of the groups.
test: build
	@scripts/install-packages test lint
	@scripts/compile $(BUILD) all
	@scripts/test $(QUERN) $(TESTS)

# kill -9 at random moments, long simulations, long fuzzing. SOAK_SHARE=0.01 does a hundredth.
soak: build
	@scripts/install-packages test fuzz
	@scripts/compile $(BUILD) all
	@scripts/soak $(QUERN)

bench: build
	@scripts/install-packages test bench
	@scripts/compile $(BUILD) all
	@scripts/bench $(QUERN)

SOURCES = $(shell git ls-files 'src/*.[ch]' 'src/*/*.[ch]' 'tests/*.[ch]' 'tests/*/*.[ch]' 'bench/*/*.[ch]' 'images/*/*.[ch]' | grep -v 'wire/models_')
fmt:
	@scripts/install-packages lint
	@clang-format -i $(SOURCES)

fmt-check:
	@scripts/install-packages lint
	@clang-format --dry-run -Werror $(SOURCES)

lint: $(BUILD)/build.ninja
	@scripts/install-packages lint
	@scripts/lint

clean:
	rm -rf build build-*
