"""The table [plugins.upload_s3]."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal, Self
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from rodin_watchd_plugins.upload_s3.keys import check_template

Text = Annotated[str, Field(min_length=1, max_length=1000)]


class Settings(BaseModel):
    """Where results go, with which credentials, and which links are given to people."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    bucket: Text = Field(description="The bucket; it has to exist.")
    prefix: str = Field(
        default="{folder}/{name}-{id}/",
        description="The first part of each key. {folder} and {name} are the set's, {id} the job's; {year}, {month}, {day} "
        "when the set was taken (UTC).",
    )
    endpoint_url: Text | None = Field(default=None, description="The store's address; without it, Amazon's.")
    region: Text | None = Field(
        default=None, description="The region; without it, what AWS's own files say, or us-east-1."
    )
    path_style: bool | None = Field(
        default=None,
        description="Whether the bucket is in the address's path (most stores in house) or before the host; without it: "
        "in the path where there is an endpoint_url.",
    )
    ca_file: Path | None = Field(default=None, description="Certificates to trust instead of the public ones, in PEM.")
    storage_class: Text | None = Field(default=None, description="The storage class, STANDARD_IA for example.")
    profile: Text | None = Field(default=None, description="The profile in AWS's files (~/.aws).")
    credentials_file: Path | None = Field(
        default=None, description="A file like ~/.aws/credentials, to be read instead of it."
    )
    access_key_id: Text | None = Field(default=None, description="The access key's id; it is no secret.")
    access_key_id_variable: Text | None = Field(
        default=None, description="The environment variable that has the access key's id."
    )
    secret_access_key_file: Path | None = Field(default=None, description="The file that has the secret access key.")
    secret_access_key_variable: Text | None = Field(
        default=None, description="The environment variable that has the secret access key."
    )
    link: Literal["none", "presigned", "public"] = Field(
        default="none", description="Which link to each result is written into the plugin's output."
    )
    link_hours: Annotated[float, Field(gt=0, le=168)] = Field(
        default=24, description="How long presigned links work; a week at most."
    )
    public_url: Text | None = Field(default=None, description="The first part of public links, before the key.")
    part_megabytes: Annotated[int, Field(ge=5, le=5000)] = Field(
        default=16, description="Larger files are uploaded in parts of this size."
    )
    connections: Annotated[int, Field(ge=1, le=32)] = Field(
        default=4, description="How many parts are uploaded at the same time."
    )

    @field_validator("prefix")
    @classmethod
    def _has_known_places(cls, value: str) -> str:
        check_template(value)
        return value

    @field_validator("endpoint_url", "public_url")
    @classmethod
    def _is_plain(cls, value: str | None) -> str | None:
        parts = urlsplit(value or "https://store")
        if parts.scheme not in ("http", "https") or not parts.hostname or "@" in parts.netloc or parts.query:
            raise ValueError("is to be an http or https address without user, password and query")
        return value

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if self.link == "public" and not self.public_url:
            raise ValueError('link = "public" needs public_url')
        ids = [self.access_key_id, self.access_key_id_variable]
        secrets = [self.secret_access_key_file, self.secret_access_key_variable]
        named = [len([value for value in values if value is not None]) for values in (ids, secrets)]
        if named not in ([0, 0], [1, 1]):
            raise ValueError("the access key's id and the secret access key are named together, each in one place")
        if named == [1, 1] and (self.profile or self.credentials_file):
            raise ValueError("either an access key is named, or a profile or credentials_file")
        return self
