"""Build the Debian package from the tree: the wheel with its libraries below /usr/lib/rodin-watchd, units, config, scripts.

Manual pages and completions of shells are made from the commands. Nothing of the target is needed, and no right but to write into --into: `uv` picks the libraries for the Python that the
release has (bookworm: 3.11, trixie: 3.13), and `dpkg-deb` packs them.
"""

from __future__ import annotations

import argparse
import gzip
import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path

import write_man
from click.shell_completion import BashComplete, FishComplete, ShellComplete, ZshComplete
from vendor_web import VENDOR

from rodin_watchd import __version__
from rodin_watchd.cli.main import cli
from rodin_watchd.cli.systemd import SHARE, STATE, config_text, unit_files

ROOT = Path(__file__).resolve().parent.parent
HOME = Path("usr/lib/rodin-watchd")
SCRIPTS = ("postinst", "prerm", "postrm")
PYTHON = "3.11"
"""That of Debian 12, bookworm."""

EXTRAS = "farm,metrics,postgres,web"
"""Besides `systemd`, which is Debian's own python3-systemd."""

PLATFORMS = {"amd64": "x86_64-manylinux_2_36", "arm64": "aarch64-manylinux_2_36"}
"""glibc 2.36 is bookworm's."""

COMPLETIONS: Mapping[type[ShellComplete], str] = {
    BashComplete: "bash-completion/completions/rodin-watchd",
    ZshComplete: "zsh/vendor-completions/_rodin-watchd",
    FishComplete: "fish/vendor_completions.d/rodin-watchd.fish",
}
"""Where below /usr/share each shell looks for what completes a command."""

LAUNCHER = """\
#!{home}/bin/python -I
from rodin_watchd.cli.main import main

main()
"""


def run(*command: str | Path) -> str:
    """Run a command and return what it printed; it ends all when it fails."""
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout


def built_wheel(folder: Path) -> Path:
    """Build the wheel of the tree."""
    run(sys.executable, "-m", "uv", "build", "-q", "--wheel", "--out-dir", folder, ROOT)
    (wheel,) = folder.glob("*.whl")
    return wheel


def fill_home(home: Path, place: Path, wheel: Path, extras: str, python: str = PYTHON) -> None:
    """Make a virtual environment for a Debian's Python below `home`, which is at /`place` when it is used."""
    libraries = home / "lib" / f"python{python}" / "site-packages"
    platform = PLATFORMS[architecture()]
    pip = (sys.executable, "-m", "uv", "pip", "install", "-q", "--only-binary", ":all:")
    what = f"{wheel}[{extras}]" if extras else str(wheel)
    target = ("--target", libraries, "--python-version", python, "--python-platform", platform)
    run(*pip, *target, "-c", ROOT / "requirements-dev.lock", what)
    shutil.rmtree(libraries / "bin", ignore_errors=True)
    (libraries / "systemd").symlink_to("/usr/lib/python3/dist-packages/systemd")  # python3-systemd: libsystemd's own
    (home / "bin").mkdir()
    (home / "bin" / "python").symlink_to(f"/usr/bin/python{python}")
    (home / "pyvenv.cfg").write_text("home = /usr/bin\ninclude-system-site-packages = false\n")
    write(home / "bin" / "rodin-watchd", LAUNCHER.format(home=place), 0o755)


def write(path: Path, text: str, mode: int = 0o644) -> None:
    """Write a file, and the folders it is in, whatever the umask."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    path.chmod(mode)


def fill_system(stage: Path) -> None:
    """Add what is outside of the package's own folder."""
    for name, text in unit_files().items():
        write(stage / "usr" / "lib" / name, text)
    write(stage / "usr" / "share" / "rodin-watchd" / "config.toml", config_text(SHARE, STATE))
    (stage / "usr" / "bin").mkdir(parents=True)
    (stage / "usr" / "bin" / "rodin-watchd").symlink_to("../lib/rodin-watchd/bin/rodin-watchd")
    for name, text in completions().items():
        write(stage / "usr" / "share" / name, text)
    for name, text in write_man.pages().items():
        packed(stage / "usr" / "share" / "man" / "man1" / f"{name}.gz", text.encode())
    documents = stage / "usr" / "share" / "doc" / "rodin-watchd"
    licences = [ROOT / "LICENSE", VENDOR / "NOTICE", *sorted((VENDOR / "licences").iterdir())]
    write(documents / "copyright", "\n".join(path.read_text(encoding="utf-8") for path in licences))
    packed(documents / "changelog.gz", (ROOT / "CHANGELOG.md").read_bytes())


def completions() -> dict[str, str]:
    """Return what makes each shell complete the command, by its place below /usr/share."""
    name, variable = "rodin-watchd", "_RODIN_WATCHD_COMPLETE"
    return {place: shell(cli, {}, name, variable).source() for shell, place in COMPLETIONS.items()}


def packed(path: Path, content: bytes) -> None:
    """Write a compressed file, the same for the same content."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(gzip.compress(content, 9, mtime=0))


def fill_control(stage: Path, version: str, python: str) -> None:
    """Add what dpkg reads: fields, scripts, sums.

    The config is no conffile: dpkg would ask about each one that was edited, while the service is down, and stop where nobody
    answers.
    """
    files = sorted(path for path in stage.rglob("*") if path.is_file() and not path.is_symlink())
    major, minor = map(int, python.split("."))
    control = (ROOT / "packaging" / "deb" / "control.in").read_text()
    fields = {
        "version": version,
        "architecture": architecture(),
        "kilobytes": sum(path.stat().st_size for path in files) // 1024,
        "python": python,
        "next_python": f"{major}.{minor + 1}",
    }
    write(stage / "DEBIAN" / "control", control.format(**fields))
    for name in SCRIPTS:
        write(stage / "DEBIAN" / name, (ROOT / "packaging" / "deb" / name).read_text(), 0o755)
    write(stage / "DEBIAN" / "md5sums", "".join(sums(stage, files)))


def sums(stage: Path, files: list[Path]) -> Iterator[str]:
    """Give the lines of md5sums: what `dpkg --verify` compares."""
    for path in files:
        yield f"{hashlib.md5(path.read_bytes(), usedforsecurity=False).hexdigest()}  {path.relative_to(stage)}\n"


def architecture() -> str:
    """Return Debian's name of this machine's kind."""
    return run("dpkg", "--print-architecture").strip()


def build(into: Path, version: str, python: str = PYTHON, compression: str = "xz") -> Path:
    """Build the package and return its file. `compression` is dpkg-deb's word: xz is small, none is quick."""
    into.mkdir(parents=True, exist_ok=True)
    package = into / f"rodin-watchd_{version}_{architecture()}.deb"
    with tempfile.TemporaryDirectory(prefix="rodin-watchd-deb-") as folder:
        stage = Path(folder) / "stage"
        fill_home(stage / HOME, "/" / HOME, built_wheel(Path(folder)), EXTRAS, python)
        fill_system(stage)
        for path in stage.rglob("*"):
            if not path.is_symlink():
                path.chmod(0o755 if path.is_dir() or os.access(path, os.X_OK) else 0o644)
        stage.chmod(0o755)
        fill_control(stage, version, python)
        run("dpkg-deb", "--root-owner-group", f"-Z{compression}", "--build", stage, package)
    return package


def main() -> int:
    """Build, and name the file."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--into", type=Path, default=ROOT / "dist", help="where the package goes (default: dist/)")
    parser.add_argument("--python", default=PYTHON, help=f"the target release's Python (default: {PYTHON})")
    parser.add_argument("--package-version", default=f"{__version__}-1", help="Debian's version of the package")
    arguments = parser.parse_args()
    if not shutil.which("dpkg-deb"):
        print("dpkg-deb is missing: Debian's package dpkg has it.", file=sys.stderr)
        return 1
    print(build(arguments.into, arguments.package_version, arguments.python))
    return 0


if __name__ == "__main__":
    sys.exit(main())
