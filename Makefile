# Two commands do everything on a fresh Debian machine: `make demo` and `make test`.
# They create .venv and install the missing system packages.

VENV := .venv
PY := $(VENV)/bin/python

# The tests start this program some hundred times: it is not compiled each time.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: demo test lint format deb container compiled system-test registry bench-coap bench-lowpan \
	bench-fleet bench-soak bench-status bench-xmpp clean

demo: $(VENV)/.demo
	@tools/need prosody=prosody dbus-daemon=dbus coap-client-notls=libcoap3-bin
	@$(VENV)/bin/border-gateway demo

test: $(VENV)/.dev
	@tools/need prosody=prosody openssl=openssl dbus-daemon=dbus coap-client-notls=libcoap3-bin \
		tshark=tshark node=nodejs npm=npm cc=build-essential taskset=util-linux \
		systemd-analyze=systemd ejabberdctl=ejabberd go-sendxmpp=go-sendxmpp profanity=profanity \
		chromium=chromium chromedriver=chromium-driver faketime=faketime mmdebstrap=mmdebstrap \
		systemd-nspawn=systemd-container
	@$(MAKE) --jobs=3 --output-sync=target deb container lint compiled  # two wait for the network
	$(PY) -m pytest -n 6 --dist loadfile --no-loadscope-reorder  # many only wait

lint: $(VENV)/.dev
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy
	$(VENV)/bin/lint-imports --no-cache

format: $(VENV)/.dev
	$(VENV)/bin/ruff check --fix .
	$(VENV)/bin/ruff format .

# dist/border-gateway_*.deb, for the Debian release and architecture of this machine.
deb: dist/.deb

dist/.deb: $(shell find gateway adapters packaging systemd config docs -type f ! -name '*.pyc') \
		pyproject.toml README.md CHANGELOG.md | $(PY)
	@tools/need /usr/bin/python3=python3
	@packaging/deb/build $(PY)
	@touch $@

# Everything as bytecode, also the tests' assertions: else each of six workers makes it.
compiled: $(VENV)/.dev
	@$(PY) -m pytest --collect-only -qq >/dev/null || true  # the tests themselves tell what is wrong

# Makes and tells the folder that the tests boot, with systemd as PID 1; only root can.
container:
	@[ $$(id -u) != 0 ] || tools/need mmdebstrap=mmdebstrap systemd-nspawn=systemd-container
	@[ $$(id -u) != 0 ] || tests/system/debian-root container systemd-sysv,python3

# The installed package in a virtual machine, with real bluetoothd and a USB stick, through faults
# and power cuts: ten minutes without KVM. Needs root.
system-test: $(VENV)/.dev deb
	@tools/need mmdebstrap=mmdebstrap systemd-nspawn=systemd-container mke2fs=e2fsprogs \
		qemu-system-x86_64=qemu-system-x86
	@$(PY) -m tests.system.guest dist

# The CoAP server against libcoap, node-coap and plain aiocoap, 20 minutes long;
# BENCH=--quick makes it two minutes.
bench-coap: $(VENV)/.demo
	@tools/need coap-server-notls=libcoap3-bin node=nodejs npm=npm cc=build-essential taskset=util-linux
	@$(PY) -m benchmarks.coap $(BENCH)

# Ten minutes of everything at once; BENCH="--seconds 60" makes it one.
bench-soak: $(VENV)/.demo
	@tools/need prosody=prosody openssl=openssl
	@$(PY) -m benchmarks.soak $(BENCH)

# What open status pages cost CoAP's clients: two minutes.
bench-status: $(VENV)/.dev
	@$(PY) -m benchmarks.status_pages $(BENCH)

# The XMPP mirror against a bare slixmpp publisher, under stock limits and through an outage: six
# minutes, BENCH=--quick one.
bench-xmpp: $(VENV)/.dev
	@tools/need prosody=prosody openssl=openssl
	@$(PY) -m benchmarks.xmpp $(BENCH)

# CoAP's answers while XMPP has trouble, and up to 16 gateways on one server; BENCH=--quick.
bench-fleet: $(VENV)/.dev
	@tools/need prosody=prosody openssl=openssl ejabberdctl=ejabberd
	@$(PY) -m benchmarks.fleet $(BENCH)

# Regenerates the built-in object definitions from a folder of OMA DDF files: make registry DDF=...
registry: $(VENV)/.dev
	$(PY) tools/build_registry.py $(DDF) gateway/objects/objects.json

# How many 802.15.4 frames a second one core receives and answers, and where the time goes.
bench-lowpan: $(VENV)/.dev
	$(PY) -m benchmarks.lowpan_receive

$(PY):
	@tools/need --python
	python3 -m venv $(VENV)

$(VENV)/.demo: pyproject.toml | $(PY)
	$(PY) -m pip install --quiet --disable-pip-version-check -e '.[demo]'
	@touch $@

$(VENV)/.dev: pyproject.toml | $(PY)
	$(PY) -m pip install --quiet --disable-pip-version-check -e '.[dev]'
	@touch $@ $(VENV)/.demo

clean:
	rm -rf $(VENV) node_modules .mypy_cache .ruff_cache .pytest_cache .hypothesis
