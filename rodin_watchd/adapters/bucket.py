"""Files of the farm's calls in a bucket of an S3-compatible store, by boto3 (the extra `s3`): for machines without the share.

Each folder is one object, a tar archive: it is there whole, or not at all.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import tarfile
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from boto3.exceptions import Boto3Error
from boto3.session import Session
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError
from botocore.session import Session as CoreSession

from rodin_watchd.errors import FarmFilesError

_ATTEMPTS: Final = 4
_SECONDS: Final = 60


class BucketFiles:
    """The files of calls, below a prefix of a bucket. Any thread; `scratch` is a local folder for archives on their way.

    A key is the beginning of objects' names. All raise FarmFilesError, OSError.
    """

    def __init__(self, url: str, endpoint: str | None, credentials_file: Path | None, scratch: Path) -> None:
        parts = urlsplit(url)
        self._bucket = parts.netloc
        self._prefix = parts.path.strip("/")
        self._scratch = scratch
        self._endpoint = endpoint
        self._credentials_file = credentials_file
        self._client = self._opened()

    def _opened(self) -> Any:  # noqa: ANN401 - boto3 has no types
        core = CoreSession()
        if self._credentials_file is not None:
            core.set_config_variable("credentials_file", str(self._credentials_file))
        retries = {"mode": "standard", "max_attempts": _ATTEMPTS}
        config = Config(connect_timeout=_SECONDS, read_timeout=_SECONDS, retries=retries)
        with self._in_words():
            return Session(botocore_session=core).client("s3", endpoint_url=self._endpoint, config=config)

    @contextlib.contextmanager
    def _in_words(self) -> Iterator[None]:
        try:
            yield
        except (Boto3Error, BotoCoreError, ClientError) as error:
            raise FarmFilesError(f"The bucket {self._bucket} of the farm cannot be used: {error}.") from error

    def lay_in(self, source: Path) -> str:
        """Upload a folder for workers, and return its key; of one that is not there any more, nothing is uploaded."""
        key = "/".join(filter(None, (self._prefix, secrets.token_hex(8))))
        if source.is_dir():
            self._put(f"{key}/given.tar", source)
        return key

    def fetch(self, key: str, target: Path) -> None:
        """Bring what was laid in to a folder that is not there yet; FileNotFoundError if nothing was."""
        self._get(f"{key}/given.tar", target)

    def publish(self, key: str, attempt: int, source: Path) -> None:
        """Upload what an attempt made."""
        self._put(_made(key, attempt), source)

    def take(self, key: str, attempt: int, target: Path) -> None:
        """Bring what an attempt made to a folder that is not there yet."""
        self._get(_made(key, attempt), target)

    def discard(self, key: str, attempt: int) -> None:
        """Remove what an attempt made: it is nobody's."""
        with self._in_words():
            self._client.delete_object(Bucket=self._bucket, Key=_made(key, attempt))

    def remove(self, key: str) -> None:
        """Remove what was laid in, and what attempts have left."""
        with self._in_words():
            found = self._client.list_objects_v2(Bucket=self._bucket, Prefix=f"{key}/").get("Contents", [])
            for entry in found:
                self._client.delete_object(Bucket=self._bucket, Key=entry["Key"])

    def _put(self, name: str, source: Path) -> None:
        with self._archive() as path:
            with tarfile.open(path, "w") as archive:
                archive.add(source, arcname=".")
            with self._in_words():
                self._client.upload_file(str(path), self._bucket, name)

    def _get(self, name: str, target: Path) -> None:
        with self._archive() as path:
            try:
                with self._in_words():
                    self._client.download_file(self._bucket, name, str(path))
            except FarmFilesError as error:
                if isinstance(error.__cause__, ClientError) and error.__cause__.response["Error"]["Code"] == "404":
                    raise FileNotFoundError(f"{name} is not in the bucket") from error
                raise
            target.mkdir()
            try:
                with tarfile.open(path) as archive:
                    archive.extractall(target, filter="data")  # no links out of it, no devices, no absolute names
            except tarfile.TarError as error:
                raise FarmFilesError(f"{name} in the bucket {self._bucket} cannot be unpacked: {error}.") from error

    @contextlib.contextmanager
    def _archive(self) -> Iterator[Path]:
        """Give the name of a temporary file, which is removed in the end."""
        self._scratch.mkdir(parents=True, exist_ok=True)
        descriptor, name = tempfile.mkstemp(suffix=".tar", dir=self._scratch)
        os.close(descriptor)
        try:
            yield Path(name)
        finally:
            Path(name).unlink(missing_ok=True)


def _made(key: str, attempt: int) -> str:
    return f"{key}/{attempt:d}.tar"
