# sregfs: everything a developer types. A fresh Debian machine needs Go, make and apt; scripts/setup brings the rest.

export PATH := $(PATH):/usr/local/go/bin
PREFIX ?= /usr/local
VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)

.PHONY: all build test race e2e crash soak vet lint fuzz bench microbench demo check install clean

all: build

# The command, at bin/sregfs: one file that needs no library.
build:
	CGO_ENABLED=0 go build -ldflags '-X main.version=$(VERSION)' -o bin/ ./cmd/...

# Everything: unit, emulator and mount tests under the race detector; then a hundred kills, two minutes of everything at
# once, and the real container runtime.
test:
	scripts/setup --test
	$(MAKE) --no-print-directory vet race
	$(MAKE) --no-print-directory -j3 crash soak e2e # side by side: each waits for disks and slow lines most of the time

vet:
	go vet ./...
	go vet -tags e2e,soak ./scripts/...
	go vet -tags crash ./index ./scripts/...

race:
	go test -race -timeout 30m ./...

# Real Apptainer on real mounts. SREGFS_E2E=skip leaves it out, and says so.
e2e: build
	[ "$(SREGFS_E2E)" = skip ] || scripts/setup --e2e
	SREGFS_BIN=$(CURDIR)/bin/sregfs go test -tags e2e -count=1 -v -timeout 25m ./scripts/e2e/

# The program killed on real mounts, at named points and random moments: make crash [KILLS=1000].
crash:
	go test -tags crash -count=1 -v -timeout 4h ./scripts/crash/ -kills $(or $(KILLS),100)

# The program on a slow Drive that fails, with everything going on at once: make soak [FOR=2h].
soak:
	go test -tags soak -count=1 -v -timeout 0 ./scripts/soak/ -for $(or $(FOR),2m)

lint:
	scripts/setup --tools
	.tools/bin/golangci-lint run --allow-serial-runners ./...
	.tools/bin/golangci-lint run --allow-serial-runners --build-tags e2e,soak ./scripts/...
	.tools/bin/golangci-lint run --allow-serial-runners --build-tags crash ./index/... ./scripts/...

# One minute for each fuzz target there is: make fuzz [FUZZTIME=10m].
fuzz:
	scripts/fuzz.sh $(or $(FUZZTIME),1m)

# sregfs beside its peers on one emulated line, with the real Apptainer; writes scripts/bench/RESULTS.md. A part of it:
# make bench ARGS='-count 1 -only scipy@150'.
bench:
	scripts/setup --bench
	scripts/bench.sh $(ARGS)

# The benchmarks of the packages: make microbench [BENCH=pattern] [COUNT=6] gives benchstat something to compare.
microbench:
	go test -run '^$$' -bench '$(or $(BENCH),.)' -benchmem -count $(or $(COUNT),1) -timeout 60m -p 1 ./...

# A Drive of its own, a mount, a run, a push, a share: a minute, nothing left behind.
demo:
	scripts/setup --demo
	$(MAKE) --no-print-directory build
	bin/sregfs demo

# What a change must pass before it is offered.
check: lint test
	@! grep -n '^replace' go.mod || { echo "go.mod has a replace"; exit 1; }
	@! grep -s ' fuse\.sregfs ' /proc/mounts || { echo "a test left its mount behind"; exit 1; }

install: build
	install -D -m 0755 bin/sregfs $(DESTDIR)$(PREFIX)/bin/sregfs

clean:
	rm -rf bin
	go clean -testcache
