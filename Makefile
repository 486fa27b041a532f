# Everything goes through these targets; `make help` lists them.
BUILD      ?= build/dev
BUILD_TYPE ?= RelWithDebInfo
JOBS       ?= $(shell nproc)
CXX_FILES   = $(shell git ls-files 'src/*.cpp' 'src/*.h' 'tests/*.cpp' 'tests/*.h')
PREFIX     ?= /usr/local
DESTDIR    ?=
BUILD_ABS   = $(abspath $(BUILD))

.PHONY: help deps build ui ui-test test image unit bpf-test cluster-test store-test kubernetes-test newest-test kernel-test demo bench lint lint-format lint-layers lint-tidy format \
        sanitize tsan release install clean

help:
	@echo "make demo      a cluster of three nodes on this machine, shown step by step (KEEP=1 keeps it)"
	@echo "make test      dependencies, build, lint and every test"
	@echo "make bench     measure, into build/bench/results.json (ONLY=name,… for a part)"
	@echo "make build     compile into $(BUILD)      make release   optimised and stripped, into build/release"
	@echo "make image     the container image, into build/axoneme-image.tar"
	@echo "make unit bpf-test ui-test cluster-test store-test kubernetes-test   one kind of test (ARGS=… goes to the runner)"
	@echo "make newest-test                          on the API machinery of the newest Kubernetes in Debian's unstable"
	@echo "make kernel-test                          on Debian's 5.10, 6.1 and 6.12 kernels, in virtual machines"
	@echo "make lint lint-tidy format sanitize tsan  checks and formatting"
	@echo "make install   binaries into DESTDIR/PREFIX        make clean     remove build/"

deps:
	@scripts/install-deps.sh

# Configured again only when there is nothing to build with yet; ninja re-runs cmake when its files change.
$(BUILD)/build.ninja: | deps
	cmake -S . -B $(BUILD) -G Ninja -DCMAKE_BUILD_TYPE=$(BUILD_TYPE)

build: deps $(BUILD)/build.ninja ui
	ninja -C $(BUILD) -j $(JOBS)

# The page that axoneme-relay serves, where it looks for it: next to bin/. UI=0 leaves it out (it needs npm).
ui: deps
ifneq ($(UI),0)
	@scripts/build-ui.sh --output $(BUILD)/share/axoneme/ui
endif

test: build
	@tools/run_tests.py --build $(BUILD) $(ARGS)

unit bpf-test ui-test cluster-test store-test kubernetes-test: build
	@tools/run_tests.py --build $(BUILD) --only $(@:-test=) $(ARGS)

# Not a part of `make test`: unstable moves, and the first run compiles for ten minutes (ARGS='--filter NAME'; ARGS=--all for every scenario).
newest-test: build
	@tests/cluster/run.py --build $(BUILD) --store kubernetes-newest $(if $(ARGS),$(filter-out --all,$(ARGS)),--every-store)

# Debian's 5.10, 6.1 and 6.12, one after the other, in virtual machines: minutes each (ARGS='--kernel 6.1 --only bpf').
kernel-test: build
	@tests/kernels/run.py --build $(BUILD) $(ARGS)

demo: build
	@tests/cluster/demo.py --build $(BUILD) $(if $(KEEP),--keep)

# Measured on what is shipped: the release build.
bench: release
	@bench/bench.py --build build/release --output build/bench/results.json $(if $(ONLY),--only $(ONLY)) $(ARGS)

lint: lint-layers lint-format

lint-layers:
	@tools/check_layers_test.py -q
	@tools/check_layers.py

lint-format:
	@clang-format-19 --dry-run --Werror $(CXX_FILES)

# Minutes on two cores, so not a part of `make test`; FILES=… checks a part.
lint-tidy: build
	@tools/tidy.sh $(BUILD) $(FILES)

format:
	clang-format-19 -i $(CXX_FILES)

sanitize: deps
	cmake --preset asan
	ninja -C build/asan -j $(JOBS)
	@tools/run_tests.py --build build/asan --only unit,bpf $(ARGS)

tsan: deps
	cmake --preset tsan
	ninja -C build/tsan -j $(JOBS)
	@tools/run_tests.py --build build/tsan --only unit $(ARGS)

release: deps
	@test -f build/release/build.ninja || cmake --preset release
	ninja -C build/release -j $(JOBS)
ifneq ($(UI),0)
	@scripts/build-ui.sh --output build/release/share/axoneme/ui
endif

image: release
	@deploy/image/build.sh

PROGRAMS = axoneme axoneme-agent axoneme-operator axoneme-relay axoneme-traffic
install: release
	install -d $(DESTDIR)$(PREFIX)/bin $(DESTDIR)/opt/cni/bin
	for p in $(PROGRAMS); do install -s -m 0755 build/release/bin/$$p $(DESTDIR)$(PREFIX)/bin/$$p; done
	install -s -m 0755 build/release/bin/axoneme-cni $(DESTDIR)/opt/cni/bin/cilium-cni
ifneq ($(UI),0)
	install -d $(DESTDIR)$(PREFIX)/share/axoneme/ui/assets
	install -m 0644 build/release/share/axoneme/ui/*.* $(DESTDIR)$(PREFIX)/share/axoneme/ui
	install -m 0644 build/release/share/axoneme/ui/assets/* $(DESTDIR)$(PREFIX)/share/axoneme/ui/assets
endif

clean:
	rm -rf build
