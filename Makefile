# Every target makes what it needs: the virtual environment, the development tools, the glTF tools.

PYTHON ?= $(shell for p in python3 python3.13 python3.12 python3.11; do \
	$$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$p && break; done)
VENV := .venv
BIN := $(VENV)/bin
LOCK := requirements-dev.lock
DOCS_LOCK := requirements-docs.lock
DEB_PYTHON := 3.11
# One more than two processors are: a test often waits for a process.
WORKERS := $(shell n=$$(nproc 2>/dev/null || echo 2); [ $$n -gt 3 ] && echo $$n || echo 3)
# Of tests with many costly cases `make test` runs a third, another one each day (tests/conftest.py); PART= runs all of them.
PART ?= $(shell date +%j | sed 's/^0*//')
# The tests commit thousands of times: in memory they do not wait for the disk. Not where programs may not be run, or room is short.
SHM := /dev/shm
SCRATCH ?= $(shell grep -q '^[^ ]* $(SHM) tmpfs' /proc/mounts 2>/dev/null && [ -w $(SHM) ] \
	&& ! grep -q '^[^ ]* $(SHM) tmpfs [^ ]*noexec' /proc/mounts \
	&& [ "$$(df -Pk $(SHM) | awk 'NR == 2 {print $$4}')" -gt 2000000 ] && echo $(SHM))
# The tests start hundreds of processes: they read what is compiled, whatever the environment says of it.
export PYTHONDONTWRITEBYTECODE :=
# apt-get serves machines where somebody may install; elsewhere the message tells what is missing.
APT = if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then apt-get update -qq && apt-get install -y -qq $(1); fi

NPM = command -v npm >/dev/null || { $(call APT,nodejs npm); }; if command -v npm >/dev/null; \
	then npm install --no-audit --no-fund --prefix .node $(1) && touch $@ \
	|| echo "npm failed, as told above: the tests with $(1) will be skipped"; \
	else echo "npm is missing: the tests with $(1) will be skipped"; fi

.PHONY: help demo test lint types unit thorough test-tools test-systemd test-shares test-web test-postgres deb man bench soak soak-nodes docs pictures reference lock clean

help:  ## List the targets
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

demo: $(VENV)/.demo  ## Show it all: emulated vendor, real daemon, sample sets
	$(BIN)/rodin-watchd demo

test: lint  ## Every check of the project: lint, types, generated files, tests; in about twelve minutes on two cores
	@$(MAKE) --no-print-directory -j2 types unit

lint: $(VENV)/.dev
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/python tools/write_reference.py --check
	$(BIN)/python tools/write_docs.py --check
	$(BIN)/python tools/write_catalogues.py --check

types: $(VENV)/.dev
	$(BIN)/mypy
	$(BIN)/mypy tests/conftest.py tests/reliability/effort.py tests/adapters/clusters.py
	$(BIN)/mypy tests/cli/conftest.py
	$(BIN)/mypy tests/web/conftest.py tests/cli/cli_stage.py
	$(BIN)/mypy tests/systemd/*.py tools/build_deb.py tools/systemd_root.py

unit: $(VENV)/.compiled .node/.made .postgres
	$(if $(SCRATCH),TMPDIR=$(SCRATCH)) RODIN_WATCHD_PART=$(PART) $(BIN)/pytest -q -n $(WORKERS) --dist worksteal

thorough: $(VENV)/.compiled .node/.made .postgres  ## All that `make test` samples: every case, story and benchmark, longer searches by chance, on the disk; before a release
	RODIN_WATCHD_EFFORT=4 $(BIN)/pytest -q -n $(WORKERS) --dist worksteal

test-systemd: $(VENV)/.dev  ## Boot a Debian with the service in it, and test it under the real systemd (needs root)
	@command -v debootstrap >/dev/null && command -v systemd-nspawn >/dev/null || { $(call APT,debootstrap systemd-container); }
	-$(BIN)/python tools/systemd_root.py
	$(BIN)/pytest -q -m systemd tests/systemd

SHARES := smbd:samba smbclient:smbclient rsync:rsync sshd:openssh-server ssh:openssh-client sshfs:sshfs rclone:rclone syncthing:syncthing aria2c:aria2 \
	unzip:unzip curl:curl wget:wget nginx:nginx-light strace:strace vim:vim
test-shares: $(VENV)/.dev  ## Drive real clients (Samba, rsync, scp, WebDAV, downloads …), each with a long pause; write docs/shares.md (needs root)
	@for p in $(SHARES); do command -v $${p%%:*} >/dev/null || missing="$$missing $${p##*:}"; done; \
		[ -z "$$missing" ] || { $(call APT,$$missing); }
	RODIN_WATCHD_SHARES_TABLE=docs/shares.md $(BIN)/pytest -q -n 0 -m shares tests/shares

test-web: $(VENV)/.dev .node/.made  ## Drive the page in a real browser: its 3D, each format and each way to pack a model, looks, languages, who can use it
	@command -v chromium >/dev/null || { $(call APT,chromium); }
	$(BIN)/pytest -q -rs -m "browser or not browser" tests/web/test_browser.py tests/web/test_models.py tests/web/test_story.py

test-postgres: $(VENV)/.dev .postgres  ## Test the store in a real PostgreSQL: its schema, services that race, a server that goes; a short soak of several
	$(BIN)/pytest -q -rs -n $(WORKERS) -m "nodes or not nodes" tests/adapters/test_postgres.py tests/adapters/test_store_contract.py \
		tests/adapters/test_store_copying.py tests/adapters/test_roots.py tests/service/test_postgres_service.py tests/service/test_postgres_backup.py \
		tests/service/test_one_account.py tests/service/test_farm.py tests/cli/test_several_daemons.py \
		tests/cli/test_several_machines.py tests/cli/test_compose_nodes.py tests/reliability/test_nodes.py

deb: $(VENV)/.dev  ## Build the Debian package (bookworm; DEB_PYTHON=3.13 for trixie) into dist/
	$(BIN)/python tools/build_deb.py --python $(DEB_PYTHON)

man: $(VENV)/.dev  ## Write the manual pages into dist/man1/ (the Debian package has them)
	$(BIN)/python tools/write_man.py

test-tools: $(VENV)/.dev .node/.tools  ## Test the plugins that run gltfpack, gltf-transform and Blender with all of them
	@command -v blender >/dev/null || { $(call APT,blender python3-numpy); }
	$(BIN)/pytest -q -rs tests/plugins/test_blender.py tests/plugins/test_optimize_gltf.py

bench: $(VENV)/.dev  ## Measure, each figure beside its floor
	$(BIN)/python -m benchmarks

soak: $(VENV)/.dev  ## Kill the service in every way we know, for ten minutes, and count what broke
	@command -v gcc >/dev/null || { $(call APT,gcc libc6-dev); }
	@command -v nginx >/dev/null || { $(call APT,nginx); }
	@command -v openssl >/dev/null || { $(call APT,openssl); }
	@command -v faketime >/dev/null || { $(call APT,faketime); }
	$(BIN)/python tools/soak.py $(SOAK)

soak-nodes: $(VENV)/.dev .postgres  ## Kill, stop and cut off several daemons on one store for ten minutes, and count what broke
	@command -v gcc >/dev/null || { $(call APT,gcc libc6-dev); }
	$(BIN)/python tools/soak_nodes.py $(SOAK)

reference: $(VENV)/.dev  ## Write the generated files: config.example.toml, the schemas, the state diagram
	$(BIN)/python tools/write_reference.py
	$(BIN)/python tools/write_docs.py
	$(BIN)/python tools/write_catalogues.py

docs: .venv-docs/.made .node/.docs  ## Build the site of the documents into dist/site, strictly
	.venv-docs/bin/python tools/build_site.py

pictures: $(VENV)/.dev  ## Make the pictures of the documents from the demo, in Chromium
	@command -v chromium >/dev/null || { $(call APT,chromium); }
	$(BIN)/python tools/make_pictures.py

lock: $(VENV)/.dev  ## Renew the locks of the development environment and of the documents
	$(BIN)/uv pip compile -q --universal --python-version 3.11 --no-annotate --no-header --no-emit-index-url \
		--extra emulator --extra usdz --extra convert-mesh --extra metrics --extra notify --extra postgres --extra farm --extra s3 --extra upload-s3 --extra web --extra dev --upgrade \
		-o $(LOCK) pyproject.toml
	$(BIN)/uv pip compile -q --universal --python-version 3.11 --no-annotate --no-header --no-emit-index-url --group docs --upgrade -o $(DOCS_LOCK)

clean:  ## Remove what the targets made
	rm -rf $(VENV) .venv-docs .node .systemd-root dist .mypy_cache .ruff_cache .pytest_cache .hypothesis

$(VENV)/.made:
	@test -n "$(PYTHON)" || { echo "Python 3.11 or newer is needed (set PYTHON=…)." >&2; exit 1; }
	$(PYTHON) -c 'import ensurepip' 2>/dev/null || { $(call APT,python3-venv); }
	$(PYTHON) -m venv $(VENV)
	@touch $@

$(VENV)/.demo: $(VENV)/.made pyproject.toml $(LOCK)
	$(BIN)/pip install -q --disable-pip-version-check -c $(LOCK) -e '.[emulator,web]'
	@touch $@

$(VENV)/.dev: $(VENV)/.made pyproject.toml $(LOCK)
	$(BIN)/pip install -q --disable-pip-version-check $$(grep '^uv==' $(LOCK))
	$(BIN)/uv pip install -q --compile-bytecode --python $(BIN)/python -r $(LOCK) \
		|| $(BIN)/pip install -q --disable-pip-version-check -r $(LOCK)
	$(BIN)/pip install -q --disable-pip-version-check --no-deps -e .
	@touch $@ $(VENV)/.demo

# Once for each environment: else every worker would compile the same tests at the same time. What cannot be collected is told by
# the run itself.
$(VENV)/.compiled: $(VENV)/.dev
	$(BIN)/python -m compileall -q rodin_watchd plugins benchmarks tools
	@$(BIN)/pytest -q --collect-only >/dev/null 2>&1 || true
	@touch $@

# The tests start servers of their own, in temporary folders.
.PHONY: .postgres
.postgres:
	@command -v initdb >/dev/null || ls /usr/lib/postgresql/*/bin/initdb >/dev/null 2>&1 || { $(call APT,postgresql); } || true

# The generator of the site is large, and nothing else needs it: it has an environment of its own.
.venv-docs/.made: $(DOCS_LOCK)
	$(PYTHON) -c 'import ensurepip' 2>/dev/null || { $(call APT,python3-venv); }
	$(PYTHON) -m venv .venv-docs
	.venv-docs/bin/pip install -q --disable-pip-version-check -r $(DOCS_LOCK)
	@touch $@

# The Khronos validator judges what the emulator writes, axe-core who can use the page, optimize_gltf runs gltfpack and
# gltf-transform; without npm the tests with them are skipped with the reason.
.node/.made: Makefile
	@$(call NPM,gltf-validator@2.0.0-dev.3.10 gltfpack@1.3.0 axe-core@4.14.1)

.node/.tools: Makefile .node/.made
	@$(call NPM,@gltf-transform/cli@4.5.1)

.node/.docs: Makefile
	@$(call NPM,mermaid@11.17.2)
