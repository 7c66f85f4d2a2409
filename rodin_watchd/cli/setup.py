"""`rodin-watchd init`: the folders and a commented config, without touching what is there."""

from __future__ import annotations

import json
import os
import secrets
import shlex
from pathlib import Path

import click

from rodin_watchd.adapters.spool import Spool
from rodin_watchd.adapters.spool.mounts import mark_text, service_above
from rodin_watchd.config import CREDENTIAL_NAME, KEY_VARIABLE
from rodin_watchd.config.reference import config_schema, example, sidecar_example, sidecar_schema
from rodin_watchd.core.kinds import GENERATE
from rodin_watchd.core.layout import CONFIG_NAME, HIDDEN, INBOX, MARK, OUTBOX
from rodin_watchd.core.mounts import Mark, Mount
from rodin_watchd.core.sidecar import PRESET_NAME
from rodin_watchd.errors import DiskError, OwnerError

CONFIG_SCHEMA = f"{HIDDEN}/config.schema.json"
SIDECAR_SCHEMA = f"{HIDDEN}/sidecar.schema.json"
SIDECAR_EXAMPLE = "sidecar.example.toml"


@click.command(epilog="Example: rodin-watchd init /srv/textures")
@click.argument("folder", metavar="DIR", type=click.Path(path_type=Path))
@click.option("--generate", is_flag=True, help="Make inbox/generate too: each image in it becomes a new model.")
def init(folder: Path, *, generate: bool) -> None:
    """Make DIR with inbox, outbox, failed and archive, and a config.toml in which every key is explained.

    Existing files are never changed, so this may be repeated. It also writes a commented sidecar.example.toml. The JSON
    schemas, with which editors check both kinds of file, go into DIR/.rodin-watchd.
    """
    root = folder.absolute()
    if above := service_above(root):
        raise OwnerError(
            f"{root} lies in {above}, which is a folder of another service: that service would take the files that are dropped here.",
            advice="Choose a folder outside of it.",
        )
    try:
        made, left = make(root, generate=generate)
    except OSError as error:
        raise DiskError(
            f"{error.filename or root} cannot be made: {error.strerror}.",
            advice="Choose a folder in which you have write permission.",
        ) from None
    for path in made:
        click.echo(f"made        {path}")
    for path in left:
        click.echo(f"kept        {path}: it was there before")
    click.echo(f"\n{next_steps(root, generate=generate)}")


def make(root: Path, *, generate: bool = False) -> tuple[list[Path], list[Path]]:
    """Make what is missing; return the files and folders that were made, and those that were there. Raises OSError."""
    made: list[Path] = []
    left: list[Path] = []
    for_models = root / INBOX / GENERATE.name
    texts = {**_texts(root), **({for_models / PRESET_NAME: _preset_text(root)} if generate else {})}
    for folder in (root, *Spool(root).folders, *([for_models] if generate else [])):
        (left if folder.is_dir() else made).append(folder)
        folder.mkdir(parents=True, exist_ok=True)
    for path, text in texts.items():
        try:
            with path.open("x", encoding="utf-8") as file:
                file.write(text)
        except FileExistsError:
            left.append(path)
        else:
            made.append(path)
    return made, left


def _texts(root: Path) -> dict[Path, str]:
    schemas = {CONFIG_SCHEMA: config_schema(), SIDECAR_SCHEMA: sidecar_schema()}
    texts = {root / name: json.dumps(schema, indent=2) + "\n" for name, schema in schemas.items()}
    examples = {CONFIG_NAME: example(CONFIG_SCHEMA), SIDECAR_EXAMPLE: sidecar_example(SIDECAR_SCHEMA)}
    mark = mark_text(Mark(secrets.token_hex(8), Mount.ROOT.value))
    return {**{root / name: text for name, text in examples.items()}, root / MARK: mark, **texts}


def _preset_text(root: Path) -> str:
    """Return the preset of the folder for new models: what stands there makes it one, not its name."""
    return (
        f"#:schema {os.path.relpath(root / SIDECAR_SCHEMA, root / INBOX / GENERATE.name)}\n"
        "# Each image in this folder becomes a new model, and so does a sub-folder with one to five images.\n"
        f'kind = "{GENERATE.name}"\n'
    )


def next_steps(root: Path, *, generate: bool = False) -> str:
    """Say how to go on from an empty folder to the first result."""
    for_models = root / INBOX / GENERATE.name
    new_model = (
        f"For a new model, drop an image, or a folder with one to five, into {for_models};\n     " if generate else ""
    )
    config = shlex.quote(str(root / CONFIG_NAME))
    return f"""Next:
  1. Give the API key: set {KEY_VARIABLE}, or name a file with the key in api.key_file in the config,
     or give a systemd service the credential {CREDENTIAL_NAME}.
  2. Check the setup:               rodin-watchd check --config {config}
  3. Start the service:             rodin-watchd run --config {config}
  4. Drop a model and an image of the same name into {root / INBOX};
     {new_model}results come to {root / OUTBOX}, and STATUS.txt next to it says where each set is.
     Options for a set go into a TOML file next to it; {root / SIDECAR_EXAMPLE} explains them all.
No key yet? `rodin-watchd demo` shows it all with an emulated vendor, free of charge (it needs the extra “emulator”)."""
