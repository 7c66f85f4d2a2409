"""Write the reference files that are made from the package: `config.example.toml` and the JSON schemas.

With `--check` nothing is written: exit code 1 means that a file differs from what the package says.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from rodin_watchd.config.reference import CONFIG_SCHEMA, SIDECAR_SCHEMA, config_schema, example, sidecar_schema

ROOT = Path(__file__).resolve().parent.parent


def texts() -> dict[str, str]:
    """Give the content of each file by its path in the project."""
    return {
        "config.example.toml": example(),
        CONFIG_SCHEMA: json.dumps(config_schema(), indent=2) + "\n",
        SIDECAR_SCHEMA: json.dumps(sidecar_schema(), indent=2) + "\n",
    }


def differs(path: Path, text: str) -> bool:
    """Return whether a file is missing or holds something else."""
    return not path.is_file() or path.read_bytes() != text.encode()


def write(path: Path, text: str) -> None:
    """Write a file, and the folders it is in."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text.encode())


def main() -> int:
    """Write or check, and name each file that differs."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; exit with 1 if a file differs")
    parser.add_argument("--into", type=Path, default=ROOT, help="the project's folder (default: this one)")
    arguments = parser.parse_args()
    stale = {path: text for path, text in texts().items() if differs(arguments.into / path, text)}
    for path, text in stale.items():
        print(f"{'differs' if arguments.check else 'written'}: {path}")
        if not arguments.check:
            write(arguments.into / path, text)
    return 1 if arguments.check and stale else 0


if __name__ == "__main__":
    sys.exit(main())
