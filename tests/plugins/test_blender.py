"""`blender`: a real Blender where there is one, and small programs that stand in its place for how it is called."""

from __future__ import annotations

import json
import re
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest
from refusing import refusal

from rodin_watchd.errors import PluginError
from rodin_watchd.testing import Finished, OpenPlugin

PLUGIN = "rodin_watchd_plugins.blender"
PAGE = Path(__file__).parents[2] / "docs" / "plugins" / "blender.md"

needs_blender = pytest.mark.skipif(shutil.which("blender") is None, reason="Blender is not installed")

TELLS = """
import json, os, pathlib
said = {"argv": sys.argv[1:], "environ": dict(os.environ), "job": json.loads(pathlib.Path(os.environ["RODIN_JOB"]).read_text())}
pathlib.Path("said.json").write_text(json.dumps(said))
"""


@pytest.fixture
def script(tmp_path: Path) -> Path:
    """Give the script of the page, in a folder whose name needs care."""
    path = tmp_path / "it's a folder" / "to fbx.py"
    path.parent.mkdir()
    [code] = re.findall(r"^```python\n(.*?)^```", PAGE.read_text(), re.MULTILINE | re.DOTALL)
    path.write_text(code)
    return path


@pytest.fixture
def stand_in(tmp_path: Path) -> str:
    """Give a program that calls itself Blender and runs the script given to it, without any of Blender's modules."""
    path = tmp_path / "stand-in"
    run = "exec(compile(pathlib.Path(sys.argv[sys.argv.index('--python') + 1]).read_text(), 'script', 'exec'))"
    version = "if '--version' in sys.argv:\n    print('Blender 0.0 (a stand-in)')\nelse:\n    " + run
    path.write_text(f"#!{sys.executable}\nimport sys, pathlib\n{version}\n")
    path.chmod(0o755)
    return str(path)


def processed(rodin_plugin: OpenPlugin, job: Finished, script: Path, **settings: Any) -> dict[str, Any]:  # noqa: ANN401 - the plugin's settings
    """Run the plugin on a finished result, and return what it tells."""
    plugin = rodin_plugin(PLUGIN, script=str(script), **settings)
    facts: dict[str, Any] = plugin.call("rodin_process", job=job.job, directory=job.directory)
    return facts


@needs_blender
def test_the_page_s_script_writes_fbx(rodin_plugin: OpenPlugin, rodin_finished: Finished, script: Path) -> None:
    """With the texture inside, by a real Blender, within the limits and the environment of a plugin."""
    facts = processed(rodin_plugin, rodin_finished, script, expects=["*.fbx"])
    made = rodin_finished.directory / "model.fbx"
    data = made.read_bytes()
    assert data.startswith(b"Kaydara FBX Binary")
    assert b"\x89PNG\r\n\x1a\n" in data
    assert facts["written"] == [{"name": "model.fbx", "bytes": len(data)}]
    assert facts["script"] == "to fbx.py"
    assert re.match(r"Blender \d+\.\d+", facts["blender"])


@needs_blender
@pytest.mark.parametrize(
    ("code", "told"),
    [
        ("raise SystemError('no such operator')", r"failed \(exit code 97\).*"),
        ("import sys; sys.exit(3)", r"failed \(exit code 3\)"),
        ("print('all is well')", r"wrote no file like \*\.fbx"),
    ],
)
def test_a_script_that_fails_is_a_failing_call(
    rodin_plugin: OpenPlugin, rodin_finished: Finished, script: Path, code: str, told: str
) -> None:
    """An exception, an exit code, a file that is missing: Blender itself would say nothing of some of them."""
    script.write_text(code)
    with pytest.raises(PluginError, match=told):
        processed(rodin_plugin, rodin_finished, script, expects=["*.fbx"])


def test_what_the_script_gets(
    rodin_plugin: OpenPlugin, rodin_finished: Finished, script: Path, stand_in: str, tmp_path: Path
) -> None:
    """The model's name, with its folder, and the arguments after `--`, the job as JSON, and an environment of a few names."""
    (rodin_finished.directory / "scene").mkdir()
    (rodin_finished.directory / "base_basic_pbr.glb").rename(rodin_finished.directory / "scene/base_basic_pbr.glb")
    script.write_text(TELLS)
    scene = tmp_path / "studio.blend"
    scene.write_bytes(b"BLENDER")
    asked = {"program": stand_in, "scene": str(scene), "arguments": ["--scale", "$HOME; 1"]}
    facts = processed(rodin_plugin, rodin_finished, script, **asked)
    told = json.loads((rodin_finished.directory / "said.json").read_text())
    before = ["--background", "--factory-startup", "--disable-autoexec", str(scene), "--python-exit-code", "97"]
    assert told["argv"] == [*before, "--python", str(script), "--", "scene/base_basic_pbr.glb", "--scale", "$HOME; 1"]
    assert told["job"]["name"] == "suzi"
    names = {name for name in told["environ"] if not name.startswith(("LC_", "LANG"))}
    assert names <= {"PATH", "HOME", "TMPDIR", "TZ", "RODIN_JOB"}
    assert told["environ"]["HOME"] == told["environ"]["TMPDIR"]
    assert not Path(told["environ"]["RODIN_JOB"]).exists()
    assert [file["name"] for file in facts["written"]] == ["said.json"]


def test_what_it_changed_and_removed_is_told(
    rodin_plugin: OpenPlugin, rodin_finished: Finished, script: Path, stand_in: str
) -> None:
    """Files in folders, too; what is as it was is not told."""
    script.write_text(
        "import os\nos.mkdir('renders')\npathlib.Path('renders/front.png').write_bytes(b'123')\n"
        "os.unlink('preview.webp')\npathlib.Path('base_basic_pbr.glb').write_bytes(b'1')\n"
    )
    facts = processed(rodin_plugin, rodin_finished, script, program=stand_in, expects=["renders/*.png"])
    assert facts == {
        "blender": "Blender 0.0 (a stand-in)",
        "script": "to fbx.py",
        "written": [{"name": "base_basic_pbr.glb", "bytes": 1}, {"name": "renders/front.png", "bytes": 3}],
        "removed": ["preview.webp"],
    }


def test_what_blender_printed_is_kept(
    rodin_plugin: OpenPlugin, rodin_finished: Finished, script: Path, stand_in: str
) -> None:
    """All of it in the plugin's output, the end of it in the error."""
    script.write_text("print('first'); print('second'); print('third'); sys.exit('no texture: wood.png')")
    with pytest.raises(PluginError, match=r"second / third / no texture: wood\.png") as caught:
        processed(rodin_plugin, rodin_finished, script, program=stand_in)
    assert "first" in caught.value.output


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"program": "no-blender-here"}, "no-blender-here is not there.*apt-get install blender"),
        ({"program": sys.executable}, "does not say that it is Blender"),
        ({"script": "/nowhere/x.py"}, "/nowhere/x.py is no file"),
        ({"script": "x.py"}, "take a full path"),
        ({"scene": "/nowhere/x.blend"}, "/nowhere/x.blend is no file"),
        ({"blend": "x"}, "blend: "),
    ],
)
def test_what_cannot_be_is_refused(script: Path, stand_in: str, settings: dict[str, Any], told: str) -> None:
    """With the command that mends it, or the key."""
    assert re.search(told, refusal(PLUGIN, {"script": str(script), "program": stand_in, **settings}))
