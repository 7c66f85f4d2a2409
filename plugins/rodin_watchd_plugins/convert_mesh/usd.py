"""USDZ, where OpenUSD is installed."""

from __future__ import annotations

from pathlib import Path

from rodin_watchd_plugins.convert_mesh.model import Model

try:
    from rodin_watchd_plugins.convert_mesh import usd_reading, usd_writing
except ImportError:
    AVAILABLE = False
else:
    AVAILABLE = True


def require() -> None:
    """Raise ImportError, with what to do about it, when OpenUSD is not installed."""
    if not AVAILABLE:
        raise ImportError("USDZ needs OpenUSD, which is not installed; run: pip install 'rodin-watchd[convert-mesh]'")


def read(path: Path) -> Model:
    """Read a USDZ file. Raises ImportError as `require` does, and ValueError for a file that cannot be read."""
    require()
    return usd_reading.read(path)


def written(model: Model) -> bytes:
    """Return a model as a USDZ file. Raises ImportError as `require` does."""
    require()
    return usd_writing.written(model)
