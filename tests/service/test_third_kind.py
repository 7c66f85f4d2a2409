"""A third kind of job is one entry of `core.kinds`: nothing else has to know it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent

THIRD = '''
import sys
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from types import MappingProxyType
from typing import Annotated

from rodin_watchd.core import kinds
from rodin_watchd.core.kind_options import Options, option_words
from rodin_watchd.core.options import Sent
from rodin_watchd.model import Role


class PairOptions(Options):
    """A kind of its own, with an option of its own."""

    strength: Annotated[int | None, Sent("seed"), option_words("How strong.", 7, "not at all")] = None


PAIR = replace(
    kinds.GENERATE, name="pair", noun="pair", done="paired", load_options=lambda: PairOptions, alone="", has_preview=False,
    dropped="a model and two images", sequels=(),
    files=MappingProxyType({Role.MODEL: kinds.FileRule("model"), Role.IMAGE: kinds.FileRule("images", least=2, most=2)}),
    fingerprint_prefix="pair-1:", duration_prefix="pair/", durations_by={}, list_price=lambda _: Decimal("0.5"),
)
declared = dict(kinds.KINDS) | {"pair": PAIR}
source = Path(kinds.__file__).read_text()
marker = "for kind in (TEXTURE, GENERATE)}"
assert marker in source
kinds.PAIR = PAIR
exec(compile(source.replace(marker, "for kind in (TEXTURE, GENERATE, PAIR)}"), kinds.__file__, "exec"), kinds.__dict__)
'''

WORK = """
from rodin_watchd.model import State
from workshop import image, model, working

with working(Path(sys.argv[1])) as (shop, vendor):
    shop.drop("both.toml", b'kind = "pair"\\nstrength = 3\\nmodel = "m.obj"\\nimages = ["a.png", "b.png"]\\n')
    shop.drop("m.obj", model("m"))
    shop.drop("a.png", image("a"))
    shop.drop("b.png", image("b"))
    shop.drop("pairs/_folder.toml", b'kind = "pair"\\n')
    shop.drop("pairs/one/x.png", image("x"))
    shop.idle()
    [job] = shop.jobs()
    assert (job.name, job.kind, job.state) == ("both", "pair", State.ARCHIVED), job
    [charge] = vendor.emulator.ledger()["charges"]
    assert charge["options"] == {"seed": "3"}, charge
    assert 'kind = "pair"' in shop.path("outbox/both/job.toml").read_text()
    assert "both: pair: delivered" in shop.status()
    assert [(file.role, file.name) for file in job.files] == [
        ("sidecar", "both.toml"), ("model", "m.obj"), ("image", "a.png"), ("image", "b.png")
    ]
    assert "pairs/one: waits for its folder to hold one set, which is one model, 2 images and" in shop.status(), shop.status()
    assert 'pair: a model and two images; a TOML file says kind = "pair"' in shop.status()
    shop.drop("pairs/one/y.png", image("y"))
    shop.drop("pairs/one/z.obj", model("z"))
    shop.idle()
    assert shop.states() == {"both": State.ARCHIVED, "one": State.ARCHIVED}
    shop.drop("few.toml", b'kind = "pair"\\nimages = ["c.png"]\\n')
    shop.drop("c.png", image("c"))
    shop.drop("single.toml", b'kind = "pair"\\nimage = "d.png"\\n')
    shop.drop("d.png", image("d"))
    shop.idle()
    assert len(shop.jobs()) == 2, "what is wrong is corrected before anything is taken"
    assert "images: 1 are named; at least 2 are taken" in shop.status(), shop.status()
    print("as declared")
"""


def test_a_third_kind_is_declared_in_one_place(tmp_path: Path) -> None:
    """Sidecar, preset, pairing, options, price, receipt and page follow from its declaration, through daemon and vendor."""
    (tmp_path / "root").mkdir()
    script = tmp_path / "third.py"
    script.write_text(THIRD + WORK)
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(HERE), str(HERE.parent)])}
    run = subprocess.run(
        [sys.executable, str(script), str(tmp_path / "root")],
        capture_output=True,
        text=True,
        check=False,
        env=environment,
        timeout=300,
    )
    assert run.stdout == "as declared\n", run.stderr
