"""The service under a real systemd: start, work, reload, watchdog, kill, key, sandbox, journald, stop."""

from __future__ import annotations

import json
import signal
import textwrap

import pytest
from machine import Machine, told
from shop import KEY, SHARE, UNIT, Shop

pytestmark = [pytest.mark.systemd, pytest.mark.timeout(600)]


ASK = """\
import http.client, sys
page = http.client.HTTPConnection("127.0.0.1", 8770)
page.request("GET", "/api/v1/session", headers={"Authorization": f"Bearer {sys.argv[1]}"})
print(page.getresponse().status)
"""


@pytest.fixture
def staffed(shop: Shop) -> Shop:
    """Give a shop with somebody who drops sets."""
    shop.hire()
    return shop


def test_ready_means_that_it_works(shop: Shop) -> None:
    """`systemctl start` comes back when the journal is open and the inbox was looked at; the status is in words."""
    shop.start()
    machine = shop.machine
    assert machine.property(UNIT, "ActiveState") == "active"
    assert machine.property(UNIT, "StatusText") == "nothing to do"
    assert machine.run(f"stat -c %U:%G:%a {SHARE}/inbox").strip() == "rodin-watchd:rodin-watchd:2770"
    assert machine.run("stat -c %U:%a /var/lib/rodin-watchd").strip() == "rodin-watchd:750"
    started = shop.manager_said("Started")
    lines = [told(line) for line in machine.diary.since()]
    watching = next(index for index, line in enumerate(lines) if "watching:" in line)
    assert watching < lines.index(told(started))
    machine.run(f"test -s {SHARE}/STATUS.txt")


def test_an_administrator_sees_the_same_service(shop: Shop) -> None:
    """Commands in a shell find the service's journal without its environment."""
    machine = shop.machine
    machine.run("rodin-watchd health", code=1)
    shop.start()
    assert "no tick" not in machine.run("rodin-watchd health")
    machine.run("rodin-watchd pause")
    shop.heard("command")
    assert "pause" in machine.property(UNIT, "StatusText")
    assert "pause" in machine.run("rodin-watchd status").lower()


def test_modes_are_set_inside_the_sandbox(staffed: Shop) -> None:
    """`output.mode` holds for files and folders, whose set-gid bit the sandbox lets nobody set anew, and for no journal."""
    staffed.machine.write(staffed.config, f'{staffed.settings}[output]\nmode = "0644"\n')
    staffed.open_vendor()
    staffed.start()
    staffed.drop("chair")
    staffed.heard("archived")
    outbox = f"{SHARE}/outbox/chair"
    assert staffed.machine.run(f"find {outbox} -type f ! -perm 644") == ""
    assert staffed.machine.run(f"find {outbox} ! -group rodin-watchd") == ""
    assert staffed.machine.run(f"stat -c %a {outbox}").strip() == "2755"
    assert staffed.machine.run("stat -c %a /var/lib/rodin-watchd/journal.sqlite3").strip() == "640"


def test_a_wrong_config_is_told_and_not_tried_again(shop: Shop) -> None:
    """A start that only a person can mend fails at once, with the mistake in the journal."""
    shop.machine.write(shop.config, shop.settings + "colour = 3\n")
    mark = shop.machine.diary.mark
    shop.machine.run(f"systemctl start {UNIT}", code=1)
    line = shop.machine.diary.until(lambda entry: "colour" in entry["MESSAGE"], mark)
    assert line["_SYSTEMD_UNIT"] == UNIT
    assert shop.machine.property(UNIT, "NRestarts") == "0"
    assert shop.machine.property(UNIT, "ActiveState") == "failed"


def test_a_missing_key_is_told(shop: Shop) -> None:
    """Without the credential's file systemd says so and tries once; with it, the next start works at once."""
    shop.machine.run("mv /etc/rodin-watchd/api-key /root")
    shop.machine.run(f"systemctl start {UNIT}", code=1)
    shop.manager_said("status=243/CREDENTIALS")
    assert shop.machine.property(UNIT, "NRestarts") == "0"
    shop.machine.run("mv /root/api-key /etc/rodin-watchd")
    shop.start()


def test_a_set_goes_through(staffed: Shop) -> None:
    """What a member of the group drops comes back textured, and the group may read and remove it."""
    staffed.open_vendor()
    staffed.start()
    staffed.drop("chair")
    staffed.heard("archived")
    assert 'name = "chair"' in staffed.receipt("chair") or "chair" in staffed.receipt("chair")
    assert staffed.charges() == 1
    outbox = f"{SHARE}/outbox/chair"
    staffed.machine.run(f"runuser -u ann -- sh -c 'cat {outbox}/* > /dev/null && rm -r {outbox}'")
    staffed.machine.run(f"useradd stranger && runuser -u stranger -- ls {SHARE}", code=2)


def test_journald_has_the_fields(staffed: Shop) -> None:
    """Each line of a job carries JOB, SET and ACTION, and journalctl finds it by them."""
    staffed.open_vendor()
    staffed.start()
    staffed.drop("lamp")
    line = staffed.heard("archived")
    assert (line["SET"], line["SYSLOG_IDENTIFIER"]) == ("lamp", "rodin-watchd")
    found = staffed.machine.run(f"journalctl --output=json JOB={line['JOB']} ACTION=delivered")
    assert json.loads(found)["SET"] == "lamp"
    assert staffed.machine.run(f"journalctl -u {UNIT} --grep {KEY}", code=1).strip() == "-- No entries --"


def test_a_reload_takes_a_good_config_and_refuses_a_bad_one(shop: Shop) -> None:
    """`systemctl reload` is heeded by the same process; after a bad config the old one stays in force."""
    pid = shop.start()
    good = shop.settings.replace("quiet_seconds = 0.2", "quiet_seconds = 0.3")
    shop.machine.write(shop.config, good)
    shop.machine.run(f"systemctl reload {UNIT}")
    assert "intake.quiet_seconds" in shop.heard("reloaded")["MESSAGE"]
    mark = shop.machine.diary.mark
    shop.machine.write(shop.config, f"{good}max_seconds = 0.9\n")
    shop.machine.run(f"systemctl reload {UNIT}", code=1)
    shop.heard("reload-refused", mark)
    shop.machine.write(shop.config, good)
    shop.machine.run(f"systemctl reload {UNIT}")
    assert "nothing changed" in shop.heard("reloaded", mark)["MESSAGE"]
    assert (shop.pid, shop.machine.property(UNIT, "ActiveState")) == (pid, "active")


def test_a_frozen_service_is_restarted_by_the_watchdog(staffed: Shop) -> None:
    """A process that gives no sign of life is ended and started again; its job is finished, and paid once."""
    staffed.open_vendor(generating=4.0)
    staffed.drop_in("[Service]\nWatchdogSec=2s\nRestartSec=0\n")
    pid = staffed.start()
    staffed.drop("chair")
    staffed.heard("submitted")
    mark = staffed.machine.diary.mark
    staffed.machine.run(f"kill -STOP {pid}")
    staffed.manager_said("Watchdog timeout", mark)
    staffed.manager_said("Started", mark)
    staffed.heard("archived", mark)
    assert staffed.pid != pid
    assert staffed.machine.property(UNIT, "NRestarts") == "1"
    assert staffed.charges() == 1
    assert staffed.machine.run("find / -xdev -name 'core*' -size +1M -newer /etc/rodin-watchd/api-key").strip() == ""


def test_a_killed_service_recovers(staffed: Shop) -> None:
    """`kill -9` of all its processes with a job at the vendor: it is started again, delivers, and pays once."""
    staffed.open_vendor(generating=2.0)
    staffed.drop_in("[Service]\nRestartSec=0\n")
    staffed.start()
    staffed.drop("chair")
    staffed.heard("submitted")
    mark = staffed.machine.diary.mark
    staffed.machine.run(f"systemctl kill --signal={signal.SIGKILL.name} {UNIT}")
    staffed.manager_said("Started", mark)
    staffed.heard("archived", mark)
    assert staffed.charges() == 1


def test_a_service_that_cannot_stay_up_is_given_up(shop: Shop) -> None:
    """After five failures in five minutes systemd leaves it down, instead of trying for ever."""
    shop.drop_in("[Service]\nType=exec\nExecStart=\nExecStart=/bin/false\nRestartSec=0\n")
    shop.machine.run(f"systemctl start {UNIT} || true")
    shop.manager_said("Start request repeated too quickly")
    assert shop.machine.property(UNIT, "NRestarts") == "5"


def test_the_key_is_shown_to_the_service_alone(staffed: Shop) -> None:
    """The vendor accepts it, so it arrived; it is in no environment, no unit, and no file that others can read."""
    staffed.open_vendor()
    pid = staffed.start()
    staffed.drop("chair")
    staffed.heard("archived")
    machine = staffed.machine
    environment = machine.run(f"tr '\\0' '\\n' < /proc/{pid}/environ")
    assert "CREDENTIALS_DIRECTORY=" in environment
    assert KEY not in environment
    assert KEY not in machine.run(f"systemctl show {UNIT}; systemctl cat {UNIT}")
    for command in ("cat /etc/rodin-watchd/api-key", f"cat /run/credentials/{UNIT}/rodin-api-key"):
        machine.run(f"runuser -u ann -- {command}", code=1)
    machine.run("runuser -u rodin-watchd -- cat /etc/rodin-watchd/api-key", code=1)
    machine.run(f"grep -rqF {KEY} {SHARE} /var/lib/rodin-watchd", code=1)


def test_the_page_takes_the_token_of_the_unit(shop: Shop) -> None:
    """Once its file is there and the page is on: nobody gets in without it. The service's user never reads the file itself."""
    web = '[web]\nenabled = true\nlisten = "0.0.0.0:8770"\nallowed_hosts = ["127.0.0.1"]\n'
    machine = shop.machine
    machine.write(shop.config, shop.settings + web)
    assert "there is no login" in machine.run("rodin-watchd check --offline", code=1)
    machine.run("umask 077; head -c 24 /dev/urandom | base64 > /etc/rodin-watchd/web-token")
    assert "ok       page: http://0.0.0.0:8770/ is for who logs in." in machine.run(
        "rodin-watchd check --offline || true"
    )
    mark = machine.diary.mark
    shop.start()
    machine.diary.until(lambda line: "The page is at" in line.get("MESSAGE", ""), mark)
    machine.write("/opt/ask.py", ASK)
    assert machine.run("python3 /opt/ask.py a-token-of-a-stranger").strip() == "401"
    assert machine.run('python3 /opt/ask.py "$(cat /etc/rodin-watchd/web-token)"').strip() == "200"
    machine.run("runuser -u rodin-watchd -- cat /etc/rodin-watchd/web-token", code=1)


def test_the_doctor_finds_the_key_of_the_unit(staffed: Shop) -> None:
    """For root all is well before the start and while it serves; the service's user, who may not read the key, is told so."""
    staffed.open_vendor()
    machine = staffed.machine
    for _ in range(2):
        told = machine.run("rodin-watchd check")
        assert "ok       key: Found." in told
        assert "100 credits are left" in told
        staffed.start()
    told = machine.run("runuser -u rodin-watchd -- rodin-watchd check")
    hidden = "Not visible from here: systemd shows /etc/rodin-watchd/api-key only to the service."
    assert f"warning  key: {hidden}" in told
    assert f"warning  balance: {hidden}" in told
    machine.run(
        "mkdir -m 755 /srv/rodin-watchd/inbox/ann && chown ann: /srv/rodin-watchd/inbox/ann && chmod g-s /srv/rodin-watchd/inbox/ann"
    )
    told = machine.run("rodin-watchd check")
    assert "rodin-watchd has no permission to take files from /srv/rodin-watchd/inbox/ann (drwxr-xr-x, ann's)." in told


PROBE = """
import ctypes, json, os, pathlib, socket
tries = {}
def attempt(name, what):
    try:
        what()
    except OSError as error:
        tries[name] = error.strerror
    else:
        tries[name] = "done"
def write(path):
    attempt("write " + path, lambda: pathlib.Path(path).write_text("x"))
def call(name, *arguments):
    libc = ctypes.CDLL(None, use_errno=True)
    def what():
        if getattr(libc, name)(*arguments) < 0:
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    attempt(name, what)
for path in ("/etc/x", "/usr/x", "/opt/x", "/var/lib/x", "/var/lib/dpkg/x", "/run/x", "/srv/x", "/boot/x", "/home/x", "/root/x"):
    write(path)
write("/proc/sys/vm/swappiness")
write("/sys/kernel/x")
write("/var/lib/rodin-watchd/x")
write("/srv/rodin-watchd/x")
write("/tmp/x")
attempt("list /home", lambda: os.listdir("/home"))
attempt("list /root", lambda: os.listdir("/root"))
attempt("the other's /tmp", lambda: os.stat("/tmp/of-others"))
attempt("read the key's file", lambda: open("/etc/rodin-watchd/api-key").read())
attempt("read /dev/kmsg", lambda: open("/dev/kmsg").close())
attempt("netlink", lambda: socket.socket(socket.AF_NETLINK, socket.SOCK_RAW).close())
attempt("raw packets", lambda: socket.socket(socket.AF_PACKET, socket.SOCK_RAW).close())
attempt("tcp", lambda: socket.socket().close())
attempt("priority", lambda: os.nice(-5))
def set_user_id():
    pathlib.Path("/srv/rodin-watchd/x").chmod(0o4755)
attempt("set-uid", set_user_id)
call("unshare", 0x10000000)
call("mount", b"none", b"/tmp", b"tmpfs", 0, None)
call("sethostname", b"x", 1)
call("ptrace", 16, 1, 0, 0)
call("personality", 0x0008)
tries["others' processes"] = str(sorted(set(filter(str.isdigit, os.listdir("/proc"))) - {str(os.getpid())}))
print("PROBE" + json.dumps(tries), flush=True)
"""

ALLOWED = {"write /var/lib/rodin-watchd/x", "write /srv/rodin-watchd/x", "write /tmp/x", "tcp"}


def test_the_sandbox_holds(staffed: Shop) -> None:
    """A program in the service's place can write its state and its share, and do nothing else of what is tried."""
    machine = staffed.machine
    machine.write("/usr/local/bin/probe.py", textwrap.dedent(PROBE))
    machine.run("touch /tmp/of-others")
    staffed.drop_in(
        "[Service]\nType=oneshot\nRestart=no\nExecStart=\nExecStart=/usr/bin/python3 /usr/local/bin/probe.py\n"
    )
    machine.run(f"systemctl start {UNIT}")
    line = machine.diary.until(lambda entry: str(entry["MESSAGE"]).startswith("PROBE"))
    tries = json.loads(line["MESSAGE"].removeprefix("PROBE"))
    assert tries.pop("others' processes") == "[]"
    assert {name for name, came_of_it in tries.items() if came_of_it == "done"} == ALLOWED, tries
    assert tries["write /usr/x"] == tries["write /etc/x"] == "Read-only file system"


def test_the_running_systemd_finds_it_tight(machine: Machine) -> None:
    """`systemd-analyze security` of the loaded unit stays at 1.5, drop-ins and all."""
    machine.run(f"systemd-analyze security --threshold=15 --no-pager {UNIT}")


def test_a_stop_waits_for_the_answer_that_is_paid_for(staffed: Shop) -> None:
    """An upload whose last bytes are out may outlast TimeoutStopSec: the service asks for time, and ends in order."""
    staffed.open_vendor("--fault submit-slow=6@1")
    staffed.drop_in("[Service]\nTimeoutStopSec=2s\nWatchdogSec=2s\n")
    staffed.start()
    staffed.drop("chair")
    staffed.heard("submitting")
    mark = staffed.machine.diary.mark
    staffed.machine.run(f"systemctl stop {UNIT}")
    assert staffed.heard("stopped", mark)
    staffed.manager_said("Deactivated successfully", mark)
    assert staffed.machine.property(UNIT, "Result") == "success"
    staffed.start()
    staffed.heard("archived", mark)
    assert staffed.charges() == 1


def test_a_stop_with_a_job_at_the_vendor_is_quick_and_loses_nothing(staffed: Shop) -> None:
    """What the vendor works on needs no waiting: it is asked for at the next start."""
    staffed.open_vendor(generating=5.0)
    staffed.start()
    staffed.drop("chair")
    staffed.heard("submitted")
    staffed.machine.run(f"systemctl stop {UNIT}")
    assert staffed.machine.diary.since(ACTION="delivered") == []
    mark = staffed.machine.diary.mark
    staffed.start()
    staffed.heard("archived", mark)
    assert staffed.charges() == 1
