"""The Rodin API and its file host, over `requests`."""

from rodin_watchd.adapters.rodin_client.client import RodinClient, Timeouts
from rodin_watchd.adapters.rodin_client.upload import Upload

__all__ = ["RodinClient", "Timeouts", "Upload"]
