"""`install-service` and `uninstall-service` on a booted machine, from an environment that pip made, without a package."""

from __future__ import annotations

from dataclasses import replace

import pytest
from machine import Machine
from shop import KEY, SHARE, UNIT, Shop

pytestmark = [pytest.mark.systemd, pytest.mark.timeout(600)]

PROGRAM = "/opt/rodin/bin/rodin-watchd"


def state_of(machine: Machine) -> str:
    """Return what could change: files of configuration, users, shared folders."""
    return machine.run("find /etc /srv -printf '%p %m %u %s\\n' | sort; getent passwd; systemctl list-unit-files")


def test_a_dry_run_prints_all_and_does_nothing(bare_machine: Machine) -> None:
    """Every file with its text and every command is told; the machine is the same afterwards."""
    before = state_of(bare_machine)
    told = bare_machine.run(f"{PROGRAM} install-service --dry-run --now")
    assert state_of(bare_machine) == before
    for line in ("| ProtectSystem=strict", f"| ExecStart={PROGRAM} run", f'| root = "{SHARE}"', "| u rodin-watchd"):
        assert line in told
    for command in (
        "systemd-sysusers",
        "systemd-tmpfiles --create",
        "daemon-reload",
        f"enable {UNIT}",
        f"restart {UNIT}",
    ):
        assert command in told


def test_it_makes_a_service_that_works_and_takes_it_away(bare_machine: Machine) -> None:
    """Installed, repeated, started, a set delivered; uninstalled, all data stays and nothing of the service is left."""
    bare_machine.run(f"{PROGRAM} install-service")
    shop = Shop(bare_machine).furnished()
    assert "it is there already" in bare_machine.run(f"{PROGRAM} install-service")
    shop.hire()
    shop.open_vendor()
    shop.start()
    assert bare_machine.property(UNIT, "UnitFileState") == "enabled"
    bare_machine.run("systemd-analyze security --threshold=15 --no-pager rodin-watchd.service")
    shop.drop("chair")
    shop.heard("archived")
    before = set(bare_machine.run(f"find {SHARE} /var/lib/rodin-watchd /etc/rodin-watchd").splitlines())
    bare_machine.run(f"{PROGRAM} uninstall-service --dry-run")
    assert bare_machine.property(UNIT, "ActiveState") == "active"
    bare_machine.run(f"{PROGRAM} uninstall-service")
    assert bare_machine.property(UNIT, "LoadState") == "not-found"
    after = set(bare_machine.run(f"find {SHARE} /var/lib/rodin-watchd /etc/rodin-watchd").splitlines())
    gone = {path for path in before - after if not path.endswith(("-wal", "-shm"))}
    assert gone == set()
    found = bare_machine.run("find /etc/systemd /etc/sysusers.d /etc/tmpfiles.d -name '*rodin*'")
    assert found == ""


def test_instances_serve_roots_of_their_own(machine: Machine) -> None:
    """Two instances, beside the packaged unit: each with its config, folder and journal; one leaves, the other stays."""
    shops = [
        Shop(
            machine,
            share=f"/srv/rodin-watchd-{name}",
            config=f"/etc/rodin-watchd/{name}.toml",
            unit=f"rodin-watchd@{name}.service",
            state=f"/var/lib/rodin-watchd/{name}",
        )
        for name in ("red", "blue")
    ]
    for shop, name in zip(shops, ("red", "blue"), strict=True):
        machine.run(f"rodin-watchd install-service --instance {name}")
        shop.furnished()
    shops[0].hire()
    shops[0].open_vendor()
    for shop in shops:
        shop.start()
    shops[1].drop("chair")
    shops[1].heard("archived")
    machine.run("test -e /var/lib/rodin-watchd/blue/journal.sqlite3 && test -e /srv/rodin-watchd-blue/outbox/chair")
    machine.run("rodin-watchd uninstall-service --instance red")
    assert machine.property(shops[0].unit, "ActiveState") == "inactive"
    assert machine.property(shops[1].unit, "ActiveState") == "active"


def test_the_last_instance_takes_the_common_files_along(bare_machine: Machine) -> None:
    """One that is not enabled any more, but installed, keeps its unit."""
    for name in ("red", "blue"):
        bare_machine.run(f"{PROGRAM} install-service --instance {name}")
    bare_machine.run("systemctl disable rodin-watchd@blue")
    bare_machine.run(f"{PROGRAM} uninstall-service --instance red")
    assert bare_machine.property("rodin-watchd@blue.service", "LoadState") == "loaded"
    bare_machine.run(f"{PROGRAM} uninstall-service --instance blue")
    assert bare_machine.run("find /etc/systemd /etc/sysusers.d /etc/tmpfiles.d -name '*rodin*'") == ""


def test_a_repeated_installation_starts_anew(bare_machine: Machine) -> None:
    """With --now the service that ran goes on with the program that is there now."""
    bare_machine.run(f"{PROGRAM} install-service")
    shop = Shop(bare_machine).furnished()
    before = shop.start()
    bare_machine.run(f"{PROGRAM} install-service --now")
    assert shop.pid not in (before, 0)
    told = bare_machine.run(f"runuser -u nobody -- {PROGRAM} install-service --dry-run", code=2)
    assert "This user may not look into /etc/rodin-watchd" in told


def test_another_folder_keeps_its_owner(bare_machine: Machine) -> None:
    """A share that is somebody's is served where it is: its owner and mode stay, and the sandbox lets the service in."""
    bare_machine.run("groupadd artists && install -d -m 2775 -g artists /srv/theirs")
    bare_machine.run(f"{PROGRAM} install-service --root /srv/theirs")
    assert bare_machine.run("stat -c '%U %G %a' /srv/theirs").split() == ["root", "artists", "2775"]
    bare_machine.run("usermod -aG artists rodin-watchd && chmod g+w /srv/theirs")
    shop = replace(Shop(bare_machine), share="/srv/theirs").furnished()
    shop.hire()
    shop.open_vendor()
    shop.start()
    shop.drop("chair")
    shop.heard("archived")


def test_what_the_sandbox_would_hide_is_refused(bare_machine: Machine) -> None:
    """A share in a home cannot be served by a service of the machine: that is told before anything is written."""
    before = state_of(bare_machine)
    assert "--user" in bare_machine.run(f"{PROGRAM} install-service --root /home/ann/textures", code=2)
    assert "Only root" in bare_machine.run(f"runuser -u nobody -- {PROGRAM} install-service", code=2)
    assert state_of(bare_machine) == before


def test_a_user_has_a_service_of_their_own(bare_machine: Machine) -> None:
    """Without root: installed, started by the user's own systemd, a set delivered, and taken away again."""
    bare_machine.run("useradd --create-home --shell /bin/sh ann && loginctl enable-linger ann")
    bare_machine.run("systemctl start user@$(id -u ann).service")

    def as_ann(line: str) -> str:
        return bare_machine.run(f'runuser -l ann -c "export XDG_RUNTIME_DIR=/run/user/$(id -u ann); {line}"')

    as_ann(f"{PROGRAM} install-service --user")
    share = "/home/ann/rodin-watchd"
    shop = Shop(bare_machine, share=share, config=f"{share}/config.toml", state="")
    bare_machine.write(shop.config, shop.settings)
    bare_machine.write("/home/ann/.config/rodin-watchd/api-key", f"{KEY}\n", "600")
    bare_machine.run("chown -R ann: /home/ann")
    shop.open_vendor()
    as_ann("systemctl --user start rodin-watchd")
    shop.drop("chair")
    bare_machine.diary.until(lambda line: line.get("ACTION") == "archived")
    assert as_ann("systemctl --user show --value -p StatusText rodin-watchd").strip() == "nothing to do"
    as_ann(f"{PROGRAM} uninstall-service --user")
    assert as_ann("systemctl --user show --value -p LoadState rodin-watchd").strip() == "not-found"
    bare_machine.run(
        f"test -e {share}/outbox/chair/job.toml && test ! -e /home/ann/.config/systemd/user/rodin-watchd.service"
    )
