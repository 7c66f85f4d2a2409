"""Sidecars and presets."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rodin_watchd.core.kind_options import TextureOptions
from rodin_watchd.core.kinds import GENERATE
from rodin_watchd.core.references import resolve_member
from rodin_watchd.core.sidecar import Preset, Sidecar, layered, read_preset, read_sidecar
from rodin_watchd.errors import Fault, Scope, SidecarError

EVERYTHING = b"""
prompt = "worn oak"
seed = 7
reference_scale = 1
geometry_file_format = "obj"
material = "Shaded"
resolution = "High"
escore = 2.5
model = "../models/chair.glb"
image = 'textures\\oak.png'
again = true
[plugins.thumbs]
sizes = [64, 128]
"""


def refusal(data: bytes, known_plugins: frozenset[str] = frozenset()) -> list[str]:
    """Give the lines of the error that a sidecar causes."""
    with pytest.raises(SidecarError) as error:
        read_sidecar(data, "chair.toml", known_plugins)
    return error.value.message.splitlines()


def test_everything_that_a_sidecar_may_say_is_read() -> None:
    """Each key arrives as it was written."""
    assert read_sidecar(EVERYTHING, "chair.toml", frozenset({"thumbs"}), folder="sets") == Sidecar(
        prompt="worn oak",
        seed=7,
        reference_scale=1.0,
        geometry_file_format="obj",
        material="Shaded",
        resolution="High",
        escore=2.5,
        model="../models/chair.glb",
        image="textures\\oak.png",
        again=True,
        plugins={"thumbs": {"sizes": [64, 128]}},
    )


def test_paths_that_lead_nowhere_are_told_with_the_rest() -> None:
    """Both references and a bad value, each with its line; from a sub-folder a step up may stay inside."""
    data = b'model = "../chair.glb"\nimage = "/etc/hostname"\nseed = -3'
    told = "\n".join(refusal(data))
    assert 'chair.toml line 1: model: "../chair.glb" leads out of the inbox' in told
    assert 'chair.toml line 2: image: "/etc/hostname" is an absolute path' in told
    assert "chair.toml line 3: seed" in told
    assert read_sidecar(b'model = "../chair.glb"', "chair.toml", folder="sets").model == "../chair.glb"


def test_an_empty_sidecar_asks_for_nothing() -> None:
    """An empty file is a sidecar: the set was meant to be taken as it is."""
    assert read_sidecar(b"", "chair.toml") == Sidecar()


@pytest.mark.parametrize(
    ("data", "line"),
    [
        (b"seed = -1", "chair.toml line 1: seed must be a whole number from 0 to 65535, but is -1"),
        (b'\nseed = "7"', 'chair.toml line 2: seed must be a whole number from 0 to 65535, but is "7" (text)'),
        (b"seed = true", "chair.toml line 1: seed must be a whole number from 0 to 65535, but is true"),
        (b"again = 1", "chair.toml line 1: again must be true or false or text of 1 to 100 characters, but is 1"),
        (
            b'again = ""',
            'chair.toml line 1: again must be true or false or text of 1 to 100 characters, but is "" (text)',
        ),
        (b'again = " "', "chair.toml line 1: again must be true, or a word of printable characters"),
        (b'again = "a\\u0007"', "chair.toml line 1: again must be true, or a word of printable characters"),
        (
            b'again = "False"',
            'chair.toml line 1: again is "False" in quotation marks: write false without them, or another word',
        ),
        (b'resolutoin = "High"', "chair.toml line 1: resolutoin: unknown key; did you mean resolution?"),
        (b'model = ""', "chair.toml line 1: model must be text of 1 to 1000 characters, but has 0"),
        (
            b'prompt = "\\u0007"',
            "chair.toml line 1: prompt must not contain control characters other than tabs and line breaks",
        ),
        (
            b"material = 1979-05-27",
            'chair.toml line 1: material must be one of "PBR", "Shaded", "All", "None", but is a date or a time',
        ),
        (b"[plugins]\nthumbs = 3", "chair.toml line 2: plugins.thumbs must be a table, but is 3"),
        (b"plugins = 3", "chair.toml line 1: plugins must be a table, but is 3"),
    ],
)
def test_a_bad_value_is_refused_with_what_is_allowed(data: bytes, line: str) -> None:
    """The artist reads the line, the key, what may stand there and what does."""
    assert refusal(data, frozenset({"thumbs"})) == [line]


def test_all_mistakes_of_a_sidecar_are_told_at_once() -> None:
    """Unknown keys, bad values and plugins that are not installed come in one error, in the order of their lines."""
    assert refusal(b"sed = 1\nseed = 70000\n[plugins.thumb]\nx = 1\n[plugins.upload]\n", frozenset({"thumbs"})) == [
        "chair.toml line 1: sed: unknown key; did you mean seed?",
        "chair.toml line 2: seed must be a whole number from 0 to 65535, but is 70000",
        "chair.toml line 3: plugins.thumb: no plugin of this name is installed; did you mean thumbs?",
        "chair.toml line 5: plugins.upload: no plugin of this name is installed",
    ]


def test_a_flood_of_mistakes_gives_a_page() -> None:
    """Thousands of tables for plugins that are not installed do not fill the disk with reports."""
    assert len(refusal(b"".join(b"[plugins.p%d]\n" % number for number in range(4000)))) == 50


def test_a_sidecar_error_is_about_one_set() -> None:
    """A bad sidecar is for whoever dropped it, and stops nothing else."""
    with pytest.raises(SidecarError) as error:
        read_sidecar(b"seed =", "chair.toml")
    assert (error.value.problem.fault, error.value.problem.scope) == (Fault.FILES, Scope.SET)


def test_a_preset_holds_options_and_plugin_settings() -> None:
    """What every set of a folder has in common can be preset."""
    preset = read_preset(b"seed = 3\n[plugins.thumbs]\nsize = 1", "_folder.toml", frozenset({"thumbs"}))
    assert preset == Preset(seed=3, plugins={"thumbs": {"size": 1}})


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (
            b"\nagain = true",
            "_folder.toml line 2: again: this belongs into the TOML file of one set: in _folder.toml it would pay again",
        ),
        (b'model = "a.glb"', "_folder.toml line 1: model: this belongs into the TOML file of one set"),
        (b'image = "a.png"', "_folder.toml line 1: image: this belongs into the TOML file of one set"),
        (b"seeed = 1", "_folder.toml line 1: seeed: unknown key; did you mean seed?"),
    ],
)
def test_a_preset_cannot_speak_for_one_set(data: bytes, words: str) -> None:
    """Files and repeated payment belong into sidecars, and the error says why."""
    with pytest.raises(SidecarError) as error:
        read_preset(data, "_folder.toml")
    assert error.value.message.startswith(words)


@settings(max_examples=300, deadline=None)
@given(
    st.binary(max_size=80)
    | st.lists(st.sampled_from([*EVERYTHING.decode().splitlines(), "[plugins]", "x=1", "[[seed]]"]), max_size=8)
    .map("\n".join)
    .map(str.encode)
)
def test_no_bytes_raise_anything_but_a_sidecar_error(data: bytes) -> None:
    """Whatever is dropped gives a sidecar or a SidecarError whose every line names the file."""
    for read in (read_sidecar, read_preset):
        try:
            result = read(data, "any.toml", frozenset({"thumbs"}))
        except SidecarError as error:
            assert all(line.startswith("any.toml") for line in error.message.splitlines())  # noqa: PT017  # both ends are right
        else:
            assert isinstance(result, Preset)


# ---- layers ---------------------------------------------------------------------------------------------------------


def test_later_layers_win_in_what_they_set() -> None:
    """The config is under the outer preset, that under the inner one, the sidecar on top; files are no options."""
    config = TextureOptions(seed=1, material="PBR", prompt="config")
    outer = Preset(seed=2, resolution="High", plugins={"x": {}})
    inner = Preset(seed=3)
    sidecar = Sidecar(prompt="mine", model="a.glb", again=True)
    assert layered(config, outer, inner, sidecar) == {
        "seed": 3,
        "material": "PBR",
        "resolution": "High",
        "prompt": "mine",
    }


def test_no_layers_give_no_options() -> None:
    """Nothing is sent that nobody set."""
    assert layered() == {}


# ---- members --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("reference", "folder", "path"),
    [
        ("chair.glb", "", "chair.glb"),
        ("chair.glb", "chairs", "chairs/chair.glb"),
        ("./sub//chair.glb", "chairs", "chairs/sub/chair.glb"),
        ("sub\\chair.glb", "chairs", "chairs/sub/chair.glb"),
        ("../images/oak.png", "chairs", "images/oak.png"),
        ("..\\..\\oak.png", "chairs/old", "oak.png"),
        ("a/../b.glb", "", "b.glb"),
        ("...", "", "..."),
        (
            "Stühle/\u202estuhl \U0001f469\u200d\U0001f680.glb",
            "x",
            "x/Stühle/\u202estuhl \U0001f469\u200d\U0001f680.glb",
        ),
        ("ab:c.glb", "", "ab:c.glb"),
    ],
)
def test_a_reference_starts_from_the_sidecars_folder(reference: str, folder: str, path: str) -> None:
    """Both separators work, and `..` may go up as far as the inbox."""
    assert resolve_member(reference, folder) == path


@pytest.mark.parametrize(
    ("reference", "folder", "words"),
    [
        ("", "", "does not name a file"),
        (".", "a", "does not name a file"),
        ("a/", "a", "does not name a file"),
        ("a/..", "a", "does not name a file"),
        ("/etc/passwd", "a", "is an absolute path"),
        ("\\\\server\\share\\x.glb", "a", "is an absolute path"),
        ("C:\\x.glb", "a", "is an absolute path"),
        ("c:x.glb", "a", "is an absolute path"),
        ("../x.glb", "", "leads out of the inbox"),
        ("../../x.glb", "a", "leads out of the inbox"),
        ("..\\..\\a\\x.glb", "a", "leads out of the inbox"),
        ("a\0.glb", "", "holds a control character"),
        ("textures\new.png", "", "'single quotes'"),
    ],
)
def test_a_reference_that_is_no_file_of_the_inbox_is_refused(reference: str, folder: str, words: str) -> None:
    """The error shows the reference and says what is wrong with it, on one line."""
    with pytest.raises(SidecarError) as error:
        resolve_member(reference, folder)
    assert words in error.value.message
    assert "\n" not in error.value.message


@settings(max_examples=300, deadline=None)
@given(
    st.lists(st.sampled_from(["..", ".", "", "a", "C:", "/", "\\", "x.glb"]), max_size=8).map("/".join)
    | st.text(max_size=20),
    st.lists(st.sampled_from(["a", "b c", "\udcff"]), max_size=3).map("/".join),
)
def test_no_reference_leaves_the_inbox(reference: str, folder: str) -> None:
    """The result is a relative path without `..`, or there is none."""
    try:
        path = resolve_member(reference, folder)
    except SidecarError:
        return
    steps = path.split("/")
    assert not {"", ".", ".."} & set(steps)
    assert not path.startswith(("/", "\\"))
    assert "\0" not in path


@pytest.mark.parametrize(
    ("data", "line"),
    [
        (
            b'kind = "generate"\nresolution = "High"',
            'chair.toml line 2: resolution: this is for kind = "texture", not for kind = "generate"',
        ),
        (
            b'kind = "texture"\ntier = "x"',
            'chair.toml line 2: tier: this is for kind = "generate", not for kind = "texture"',
        ),
        (b'kind = "texture"\nmaterial = "All"', 'chair.toml line 2: material: a texture takes one of "PBR", "Shaded"'),
        (b'kind = "generate"\nmodel = "a.glb"', 'chair.toml line 2: model: a set of kind = "generate" has no model'),
        (
            b'kind = "texture"\nimages = []',
            "chair.toml line 2: images: 0 are named; at least 1 are taken",
        ),
        (
            b'kind = "generate"\nimages = ["1.png", "2.png", "3.png", "4.png", "5.png", "6.png"]',
            "chair.toml line 2: images: 6 are named; at most 5 are taken",
        ),
        (
            b'images = ["a.png"]\nimage = "b.png"\nkind = "generate"',
            "chair.toml line 2: image: it stands beside images; name all of them there",
        ),
        (b'kind = "generat"', 'chair.toml line 1: kind must be one of "texture", "generate", but is "generat" (text)'),
        (
            b'kind = "generate"\nimages = ["../../a.png"]',
            'chair.toml line 2: images: "../../a.png" leads out of the inbox',
        ),
    ],
)
def test_what_a_kind_does_not_have_is_refused_where_it_is_said(data: bytes, line: str) -> None:
    """Beside the kind itself, with its line; what one kind has is not silently left out of another's sidecar."""
    assert refusal(data) == [line]


def test_a_preset_says_a_kind_and_names_no_files() -> None:
    """The kind of all sets below it, unless they say another one."""
    assert read_preset(b'kind = "generate"\ntier = "Sketch"', "_folder.toml").kind == "generate"
    with pytest.raises(SidecarError, match=r"_folder\.toml is for every set"):
        read_preset(b'images = ["a.png"]', "_folder.toml")


def test_layers_give_a_kind_what_it_has() -> None:
    """What other kinds have is left out."""
    said = read_preset(b'seed = 1\nresolution = "High"\ntier = "Sketch"', "_folder.toml")
    assert layered(said, kind=GENERATE) == {"seed": 1, "tier": "Sketch"}
    assert layered(said) == {"seed": 1, "resolution": "High"}
