"""The Debian package on a booted machine: installed, upgraded, removed, purged."""

from __future__ import annotations

import pytest
from machine import Machine
from shop import SHARE, UNIT, Shop

pytestmark = [pytest.mark.systemd, pytest.mark.timeout(600)]

INSTALL = "dpkg --install /opt/packages/rodin-watchd_{version}_*.deb 2>&1"


def test_installing_starts_nothing(bare_machine: Machine) -> None:
    """User, folders, config and units are there afterwards; what spends money waits for the administrator."""
    told = bare_machine.run(INSTALL.format(version="1.0-1"))
    assert "/etc/rodin-watchd/api-key" in told
    assert bare_machine.property(UNIT, "UnitFileState") == "disabled"
    assert bare_machine.property(UNIT, "ActiveState") == "inactive"
    modes = bare_machine.run(f"stat -c '%U %G %a' {SHARE}/outbox /etc/rodin-watchd /etc/rodin-watchd/config.toml")
    assert modes.splitlines() == ["rodin-watchd rodin-watchd 2770", "root rodin-watchd 750", "root rodin-watchd 640"]
    assert bare_machine.run("dpkg --verify rodin-watchd") == ""
    assert "rodin-watchd" in bare_machine.run("rodin-watchd --version")


def test_an_upgrade_with_a_job_in_flight_loses_nothing(shop: Shop) -> None:
    """The service is stopped, exchanged and started; the job that was at the vendor is delivered, and paid once."""
    shop.hire()
    shop.open_vendor(generating=8.0)
    old = shop.start()
    shop.drop("chair")
    shop.heard("submitted")
    mark = shop.machine.diary.mark
    shop.machine.run(INSTALL.format(version="1.0-2"))
    assert shop.machine.run("dpkg-query --show --showformat '${Version}' rodin-watchd") == "1.0-2"
    assert shop.machine.diary.since(ACTION="delivered") == []
    shop.heard("archived", mark)
    assert shop.pid not in (old, 0)
    assert shop.charges() == 1
    assert "reserve_megabytes = 0" in shop.machine.run(f"cat {shop.config}")


def test_an_upgrade_asks_nothing(shop: Shop) -> None:
    """Another text of the config that comes along, and one that was edited, stop no upgrade that nobody watches."""
    shop.start()
    shop.machine.run("dpkg-deb --raw-extract /opt/packages/rodin-watchd_1.0-2_*.deb /root/new")
    shop.machine.run("sed -i 's/^Version: .*/Version: 1.0-3/' /root/new/DEBIAN/control")
    shop.machine.run("echo '# one more line' >> /root/new/usr/share/rodin-watchd/config.toml")
    shop.machine.run("dpkg-deb -Znone --build /root/new /root/rodin-watchd_1.0-3.deb")
    shop.machine.run("DEBIAN_FRONTEND=noninteractive dpkg --install /root/rodin-watchd_1.0-3.deb")
    assert shop.machine.property(UNIT, "ActiveState") == "active"
    assert shop.machine.run(f"cat {shop.config}") == shop.settings


def test_an_upgrade_leaves_a_stopped_service_stopped(shop: Shop) -> None:
    """What the administrator has stopped is not started by a new version, although it is enabled."""
    shop.machine.run(f"systemctl enable {UNIT}")
    shop.machine.run(INSTALL.format(version="1.0-2"))
    assert shop.machine.property(UNIT, "ActiveState") == "inactive"
    assert shop.machine.property(UNIT, "UnitFileState") == "enabled"


def test_removing_keeps_and_purging_takes(shop: Shop) -> None:
    """Removed: config, key, journal stay. Purged: they go, too. The share with people's files always stays."""
    shop.machine.run(f"systemctl enable {UNIT}")
    shop.start()
    shop.machine.run("rodin-watchd install-service --instance red")
    shop.machine.run("dpkg --remove rodin-watchd")
    assert shop.machine.property(UNIT, "LoadState") == "not-found"
    shop.machine.run("test ! -e /usr/lib/rodin-watchd && test ! -e /usr/bin/rodin-watchd")
    shop.machine.run("test -e /etc/rodin-watchd/api-key && test -e /var/lib/rodin-watchd/journal.sqlite3")
    shop.machine.run("dpkg --purge rodin-watchd")
    shop.machine.run("test ! -e /etc/rodin-watchd && test ! -e /var/lib/rodin-watchd")
    shop.machine.run(f"test -d {SHARE}/inbox && getent passwd rodin-watchd")
    assert shop.machine.run("find /etc/systemd /run/systemd/system -xtype l") == ""
    assert shop.machine.run("find /etc -name '*rodin-watchd*' -not -path '*/apt/*'").splitlines() == []
