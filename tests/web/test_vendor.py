"""What the page brings along from npm is as it was fetched, asks no other host, and needs no leave to compile JavaScript."""

from __future__ import annotations

import base64
import hashlib
import re
import shutil
from pathlib import Path

import pytest
from make_studio_light import TARGET, panorama
from vendor_web import BASIS, CHANGES, FBX, PACKAGES, VENDOR, changed, differences

from rodin_watchd.web.viewer import STYLE_DIGEST

SCRIPTS = [name for package in PACKAGES for name in package.files.values() if name.endswith(".js")]
BUNDLE = (VENDOR / "model-viewer.min.js").read_text(encoding="utf-8")
OURS = (VENDOR.parent / "model.js").read_text(encoding="utf-8")


def test_the_files_are_as_they_were_fetched() -> None:
    """Nothing in vendor/ was edited, added or forgotten, and the notice names these versions."""
    assert differences(VENDOR) == []


def test_each_package_comes_with_its_licence() -> None:
    """Whoever gets the wheel gets the terms."""
    for package in PACKAGES:
        (licence,) = (name for name in package.files.values() if name.startswith("licences/"))
        assert "Copyright" in (VENDOR / licence).read_text(encoding="utf-8")


@pytest.mark.parametrize("damage", ["edited", "added", "missing"])
def test_a_changed_file_is_found(damage: str, tmp_path: Path) -> None:
    """`--check` names the file."""
    copy = shutil.copytree(VENDOR, tmp_path / "vendor")
    file = copy / ("new.js" if damage == "added" else BASIS)
    if damage == "missing":
        file.unlink()
    else:
        with file.open("a", encoding="utf-8") as written:
            written.write("\n")
    (found,) = differences(copy)
    assert file.name in found


@pytest.mark.parametrize("file", [BASIS, FBX])
def test_a_version_in_which_a_change_has_no_place_is_refused(file: str) -> None:
    """A newer one is looked at by somebody before it is in the page."""
    with pytest.raises(ValueError, match="is not there exactly once"):
        changed(file, b"function other(){}")


@pytest.mark.parametrize("file", [name for name in SCRIPTS if not name.startswith("draco/")])
def test_each_import_is_a_file_of_ours(file: str) -> None:
    """A browser resolves no bare name, and a worker no import map."""
    text = (VENDOR / file).read_text(encoding="utf-8")
    for name in re.findall(r"""^(?:import[^'"();]*|\} |import\{[^'"}]*\})from ?['"]([^'"]+)['"]""", text, re.MULTILINE):
        assert name.startswith("."), name
        assert (VENDOR / file).parent.joinpath(name).is_file(), name


def test_the_policy_lets_the_one_style_of_the_viewer_through() -> None:
    """Its digest stands in the Content-Security-Policy: a new version of the bundle has another one."""
    (style,) = re.findall(r"<style>(.*?)</style>", BUNDLE, re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    assert f"sha256-{digest}" == STYLE_DIGEST


def test_the_viewer_asks_no_other_host() -> None:
    """Each place where the bundle looks for code on another host is set to one of ours."""
    elsewhere = set(re.findall(r"\b(\w+Location)\|\|", BUNDLE))
    assert elsewhere == {"dracoDecoderLocation", "ktx2TranscoderLocation", "lottieLoaderLocation"}
    ours = dict(re.findall(r"^  (\w+Location): here\(\"([^\"]+)\"\),$", OURS, re.MULTILINE))
    assert elsewhere < ours.keys()
    for name in elsewhere - {"lottieLoaderLocation"}:  # nothing in the page asks for it
        assert (VENDOR.parent / ours[name]).is_dir()


@pytest.mark.parametrize("name", SCRIPTS)
def test_no_javascript_is_compiled_from_strings(name: str) -> None:
    """The page allows WebAssembly, and no `unsafe-eval`."""
    text = (VENDOR / name).read_text(encoding="utf-8")
    assert not re.search(r"\bnew Function\(|\bnewFunc\(Function\b|[^\w.]eval\(", text)
    assert all(theirs not in text for theirs, _ in CHANGES.get(name, ()))


def test_the_light_of_the_viewer_is_as_it_is_drawn() -> None:
    """Whoever changes the tool sees the change in the page."""
    assert TARGET.read_bytes() == panorama()
