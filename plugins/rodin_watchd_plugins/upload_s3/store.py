"""The store: one client for one table, and what goes wrong there in words."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final, Self

from rodin_watchd_plugins.secret import of_file, of_variable, secret_text
from rodin_watchd_plugins.upload_s3.files import Local
from rodin_watchd_plugins.upload_s3.keys import key_problem
from rodin_watchd_plugins.upload_s3.settings import Settings

try:
    from boto3.s3.transfer import TransferConfig
    from boto3.session import Session
    from botocore.config import Config
    from botocore.exceptions import (
        BotoCoreError,
        ClientError,
        NoCredentialsError,
        PartialCredentialsError,
        SSLError,
    )
    from botocore.session import Session as BaseSession
except ImportError:
    raise ImportError("the library boto3 is missing; run: pip install 'rodin-watchd[upload-s3]'") from None

_MEBIBYTE: Final = 1 << 20
_SHA256: Final = "sha256"
_CREDENTIALS: Final = frozenset({"InvalidAccessKeyId", "SignatureDoesNotMatch", "ExpiredToken", "InvalidToken"})
_FORBIDDEN: Final = frozenset({"403", "AccessDenied"})
_ABSENT: Final = frozenset({"404", "NoSuchKey"})


class StoreError(Exception):
    """What the store or the way to it did not do, in words for people; never with a secret."""


@dataclass(frozen=True, slots=True)
class Store:
    """A bucket of a store."""

    client: Any
    settings: Settings

    @classmethod
    def opened(cls, settings: Settings) -> Self:
        """Return the table's store; nothing is sent yet. Raises StoreError, RuntimeError for credentials that cannot be had."""
        with _in_words(settings):
            session = _session(settings)
            if session.get_credentials() is None:
                raise NoCredentialsError
            return cls(session.client("s3", endpoint_url=settings.endpoint_url, **_client(settings)), settings)

    def holds(self, key: str, local: Local) -> bool:
        """Return whether this very file is there. A key that may write and not read gets False. Raises StoreError."""
        with _in_words(self.settings):
            try:
                there = self.client.head_object(Bucket=self.settings.bucket, Key=key)
            except ClientError as error:
                if _code(error) in _ABSENT | _FORBIDDEN:
                    return False
                raise
        return bool(there["ContentLength"] == local.size and there["Metadata"].get(_SHA256) == local.sha256)

    def put(self, key: str, local: Local) -> None:
        """Upload a file; in parts if it is large. May be repeated. Raises StoreError."""
        if problem := key_problem(key):
            raise StoreError(f"{key[:100]}… cannot be uploaded: {problem}.")
        with _in_words(self.settings):
            self.client.upload_fileobj(
                local.stream,
                self.settings.bucket,
                key,
                ExtraArgs=_object(self.settings, local),
                Config=_transfer(self.settings),
            )

    def presigned(self, key: str, hours: float) -> str:
        """Return a link with which everybody can load an object for so long. Raises StoreError."""
        with _in_words(self.settings):
            target = {"Bucket": self.settings.bucket, "Key": key}
            return str(self.client.generate_presigned_url("get_object", Params=target, ExpiresIn=int(hours * 3600)))


def _object(settings: Settings, local: Local) -> dict[str, Any]:
    """Return the metadata that are stored with an object."""
    fields: dict[str, Any] = {"ContentType": local.content_type, "Metadata": {_SHA256: local.sha256}}
    return fields | ({"StorageClass": settings.storage_class} if settings.storage_class else {})


def _transfer(settings: Settings) -> TransferConfig:
    part = settings.part_megabytes * _MEBIBYTE
    return TransferConfig(multipart_threshold=part, multipart_chunksize=part, max_concurrency=settings.connections)


# ---- the client -----------------------------------------------------------------------------------------------------


def _client(settings: Settings) -> dict[str, Any]:
    """Return how the client is to talk: what other stores than Amazon's do not know is left out for them."""
    own = settings.endpoint_url is not None
    checksums = "when_required" if own else "when_supported"
    config = Config(
        signature_version="s3v4",
        connect_timeout=10,
        read_timeout=60,
        retries={"mode": "standard", "total_max_attempts": 3},
        max_pool_connections=settings.connections + 2,
        request_checksum_calculation=checksums,
        response_checksum_validation=checksums,
        s3={"addressing_style": _addressing(settings, own=own)},
    )
    return {"config": config, "verify": str(settings.ca_file) if settings.ca_file else None}


def _addressing(settings: Settings, *, own: bool) -> str:
    if settings.path_style is None:
        return "path" if own else "auto"
    return "path" if settings.path_style else "virtual"


def _session(settings: Settings) -> Session:
    if settings.ca_file and not settings.ca_file.is_file():
        raise StoreError(f"There is no file {settings.ca_file}, which ca_file names.")
    base = BaseSession(profile=settings.profile)
    if settings.credentials_file:
        of_file(settings.credentials_file, "the credentials")  # botocore reads it; here it is seen that no other can
        base.set_config_variable("credentials_file", str(settings.credentials_file))
    region = settings.region or base.get_config_variable("region") or "us-east-1"
    return Session(botocore_session=base, region_name=region, **_named_key(settings))


def _named_key(settings: Settings) -> dict[str, str]:
    """Return the access key that the table names; {} if AWS's own places are to be looked into."""
    file, variable = settings.secret_access_key_file, settings.secret_access_key_variable
    if file is None and variable is None:
        return {}
    secret = secret_text(file, variable, "the secret access key")
    if not secret.isascii() or len(secret.split()) != 1:
        raise StoreError("The secret access key is to stand alone and on one line, where the table says.")
    named = settings.access_key_id
    key_id = named or of_variable(settings.access_key_id_variable or "", "the access key's id")
    return {"aws_access_key_id": key_id, "aws_secret_access_key": secret}


# ---- errors ---------------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def _in_words(settings: Settings) -> Iterator[None]:
    """Turn what the library raises into a sentence that says what to do."""
    try:
        yield
    except ClientError as error:
        raise StoreError(_refused(error, settings)) from None
    except (NoCredentialsError, PartialCredentialsError):
        raise StoreError(
            "There are no credentials for the store: name an access key, a profile or a credentials_file in "
            "[plugins.upload_s3], or pass AWS's variables on by plugins.pass_environment."
        ) from None
    except SSLError:
        raise StoreError(
            f"The certificate of {_place(settings)} is not trusted: name your authority's certificate in ca_file."
        ) from None
    except BotoCoreError as error:
        raise StoreError(f"{_place(settings)} cannot be used: {error}") from None


def _refused(error: ClientError, settings: Settings) -> str:
    code, doing = _code(error), error.operation_name
    if code == "NoSuchBucket":
        return f"There is no bucket {settings.bucket} at {_place(settings)}."
    if code in _CREDENTIALS:
        return f"{_place(settings)} does not accept the credentials ({code})."
    if code in _FORBIDDEN:
        return f"{_place(settings)} does not allow {doing} in the bucket {settings.bucket} with these credentials."
    message = " ".join(str(error.response.get("Error", {}).get("Message", "")).split())[:300]
    return f"{_place(settings)} answered {doing} with {code}: {message}"


def _code(error: ClientError) -> str:
    return str(error.response.get("Error", {}).get("Code", ""))


def _place(settings: Settings) -> str:
    return settings.endpoint_url or "Amazon S3"
