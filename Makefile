# A thin front: the build itself is Meson's (meson setup build && ninja -C build).
# Each target installs the Debian packages that it misses; that needs root or sudo.
.PHONY: help demo check check-quick bench torture install python bench-python clean
.SILENT:

help: ## list the targets
	sed -n 's/^\([a-z-]*\): ## /  make \1\t/p' Makefile | expand -t 22

demo: ## see it work: the examples, and every file below /usr/include hashed
	scripts/bootstrap build examples
	scripts/build build -Dexamples=enabled -Dtests=disabled
	scripts/demo

check: ## every test, with gcc and clang, sanitizers and coverage (about 25 minutes)
	scripts/bootstrap build examples check python check-python
	scripts/check

check-quick: ## the tests, in one build
	scripts/bootstrap build examples check python check-python
	scripts/check --quick

torture: ## the long forms of the tests (an hour or more)
	scripts/bootstrap build examples check python check-python
	scripts/check --torture

bench: ## how fast it is, beside other libraries
	scripts/bootstrap build bench
	scripts/build build-bench -Dbench=enabled -Dexamples=disabled -Dtests=disabled
	scripts/bench

install: ## build it and install it below /usr/local
	scripts/bootstrap build
	scripts/build build -Dtests=disabled -Dlibdir=lib
	meson install -C build
	test -n "$$DESTDIR" || ldconfig

python: ## the Python package: a wheel, and a virtual environment with it
	scripts/bootstrap build python
	scripts/wheel build-python
	build-python/venv/bin/python python/examples/first.py

bench-python: ## how fast the Python package is, beside other pools
	scripts/bootstrap build python bench-python
	scripts/wheel build-python
	build-python/venv/bin/python scripts/bench-python

clean: ## remove what was built
	rm -rf build build-* .mesonpy-*
