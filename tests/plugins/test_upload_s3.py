"""`upload_s3`: results in a store that speaks S3, over the wire."""

from __future__ import annotations

import json
import os
import re
import socket
import threading
from collections.abc import Iterator, Mapping
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar, Final, TypeAlias

import boto3
import pytest
import requests
from moto.server import ThreadedMotoServer
from pydantic import ValidationError
from refusing import refusal
from rodin_watchd_plugins.upload_s3.keys import prefix_of
from rodin_watchd_plugins.upload_s3.settings import Settings

from rodin_watchd.errors import PluginError
from rodin_watchd.testing import Finished, OpenPlugin, PluginUnderTest, loading
from rodin_watchd.v1 import Event, File, Job

PLUGIN = "rodin_watchd_plugins.upload_s3"
EVENT = Event("job-1", "delivered", 1000.0, "suzi: outbox/suzi")
SECRET: Final = "not-so-secret"  # noqa: S105 - of a store that lives for one test
BUCKET = "results"
AT = "suzi-0123456789ab/"
TYPES = {"base_basic_pbr.glb": "model/gltf-binary", "preview.webp": "image/webp", "job.toml": "application/toml"}

Client: TypeAlias = Any
"""A client of boto3, which has no types."""

Table: TypeAlias = dict[str, Any]
"""The plugin's table."""


@pytest.fixture(scope="session")
def address() -> Iterator[str]:
    """Give the address of a store on this machine."""
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    yield "http://{}:{}".format(*server.get_host_and_port())
    server.stop()


@pytest.fixture
def store(address: str) -> Iterator[Client]:
    """Give a client of the store, with an empty bucket that keeps every version."""
    client = boto3.client(
        "s3",
        endpoint_url=address,
        region_name="us-east-1",
        aws_access_key_id="ours",
        aws_secret_access_key=SECRET,
    )
    client.create_bucket(Bucket=BUCKET)
    client.put_bucket_versioning(Bucket=BUCKET, VersioningConfiguration={"Status": "Enabled"})
    yield client
    requests.post(f"{address}/moto-api/reset", timeout=10).raise_for_status()


def table_in(folder: Path, address: str) -> Table:
    """Return the settings for the store, with the secret in a file of the folder."""
    secret = folder / "secret"
    secret.write_text(f"{SECRET}\n")
    secret.chmod(0o600)
    return {
        "bucket": BUCKET,
        "endpoint_url": address,
        "access_key_id": "ours",
        "secret_access_key_file": str(secret),
    }


@pytest.fixture
def table(address: str, tmp_path: Path) -> Table:
    """Give the settings for the store."""
    return table_in(tmp_path, address)


@pytest.fixture(scope="session")
def uploader(address: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[PluginUnderTest]:
    """Give the plugin with these settings; it keeps nothing between its calls."""
    folder = tmp_path_factory.mktemp("uploader")
    with loading(folder) as load:
        yield load(PLUGIN, **table_in(folder, address))


def deliver(plugin: PluginUnderTest, finished: Finished, **changed: Any) -> str:  # noqa: ANN401 - the job's own fields
    """Tell the plugin of the result; return what it printed."""
    job = replace(finished.job, **changed)
    plugin.call("rodin_delivered", job=job, directory=finished.directory, event=EVENT)
    return plugin.output


def keys(store: Client) -> list[str]:
    """Return the keys in the bucket."""
    return [there["Key"] for there in store.list_objects_v2(Bucket=BUCKET).get("Contents", [])]


def test_a_result_is_in_the_store(uploader: PluginUnderTest, rodin_finished: Finished, store: Client) -> None:
    """All files and the receipt, each with its bytes, its media type and its hash."""
    deliver(uploader, rodin_finished)
    assert keys(store) == [f"{AT}base_basic_pbr.glb", f"{AT}job.toml", f"{AT}preview.webp"]
    by_name = {name: store.get_object(Bucket=BUCKET, Key=AT + name) for name in TYPES}
    for name, there in by_name.items():
        assert there["Body"].read() == (rodin_finished.directory / name).read_bytes()
    assert {name: there["ContentType"] for name, there in by_name.items()} == TYPES
    assert by_name["base_basic_pbr.glb"]["Metadata"] == {"sha256": rodin_finished.job.results[0].sha256}
    written = [there["LastModified"] for there in by_name.values()]
    assert by_name["job.toml"]["LastModified"] == max(written)


def test_what_is_there_is_not_sent_again(uploader: PluginUnderTest, rodin_finished: Finished, store: Client) -> None:
    """A repeated call sends what is missing or another file, and nothing else."""
    deliver(uploader, rodin_finished)
    (rodin_finished.directory / "preview.webp").write_bytes(b"painted over")
    store.delete_object(Bucket=BUCKET, Key=f"{AT}job.toml")
    told = deliver(uploader, rodin_finished)
    assert f"{AT}base_basic_pbr.glb: was there already" in told
    versions = [there["Key"] for there in store.list_object_versions(Bucket=BUCKET)["Versions"]]
    assert [versions.count(AT + name) for name in ("base_basic_pbr.glb", "preview.webp", "job.toml")] == [1, 2, 2]
    assert store.get_object(Bucket=BUCKET, Key=f"{AT}preview.webp")["Body"].read() == b"painted over"


def test_a_large_file_goes_in_parts(
    rodin_plugin: OpenPlugin, rodin_finished: Finished, store: Client, table: Table
) -> None:
    """As many as the size of a part makes, and whole at the end; the class is the one that was asked for."""
    large = os.urandom(1 << 20) * 11
    (rodin_finished.directory / "base_basic_pbr.glb").write_bytes(large)
    deliver(rodin_plugin(PLUGIN, **table, part_megabytes=5, storage_class="STANDARD_IA"), rodin_finished)
    there = store.get_object(Bucket=BUCKET, Key=f"{AT}base_basic_pbr.glb")
    assert there["ETag"].endswith('-3"')
    assert there["Body"].read() == large
    assert there["StorageClass"] == "STANDARD_IA"


@pytest.mark.parametrize(
    ("prefix", "changed", "expected"),
    [
        ("{folder}/{name}-{id}/", {}, "suzi-0123456789ab/"),
        ("{folder}/{name}-{id}/", {"folder": "props/chairs"}, "props/chairs/suzi-0123456789ab/"),
        ("{year}/{month}/{day}/{id}-", {"created_at": 951782399.0}, "2000/02/28/0123456789ab-/"),
        ("/{folder}//{name}", {"folder": "../..", "name": ".."}, "__/__/__/"),
        ("{name}", {"name": "a\nb\u202ec\udcff Stühle {id}"}, "a_b_c_ Stühle {id}/"),
    ],
)
def test_the_prefix_is_filled(rodin_job: Job, prefix: str, changed: Mapping[str, Any], expected: str) -> None:
    """With the set's words, and they lead nowhere else."""
    assert prefix_of(prefix, replace(rodin_job, **changed)) == expected


def test_strange_names_arrive(uploader: PluginUnderTest, rodin_finished: Finished, store: Client) -> None:
    """A name that is not UTF-8, or has a line break, becomes a key that the store takes."""
    (rodin_finished.directory / "preview.webp").rename(rodin_finished.directory / "ä\n+&\udcff.webp")
    results = (File("ä\n+&\udcff.webp", 1),)
    deliver(uploader, rodin_finished, results=results, name="<b>", folder="a b")
    assert keys(store) == ["a b/<b>-0123456789ab/job.toml", "a b/<b>-0123456789ab/ä_+&_.webp"]


@pytest.mark.usefixtures("store")
def test_a_presigned_link_is_told(rodin_plugin: OpenPlugin, rodin_finished: Finished, table: Table) -> None:
    """Whoever has it loads the file without credentials, for as long as was said."""
    told = deliver(rodin_plugin(PLUGIN, **table, link="presigned", link_hours=0.5), rodin_finished)
    link = re.search(r"^.*preview.webp: (http\S+)$", told, re.MULTILINE)
    assert link is not None
    assert "X-Amz-Expires=1800" in link[1]
    assert requests.get(link[1], timeout=10).content == (rodin_finished.directory / "preview.webp").read_bytes()
    assert SECRET not in told


@pytest.mark.usefixtures("store")
def test_a_public_link_is_told(rodin_plugin: OpenPlugin, rodin_finished: Finished, table: Table) -> None:
    """Below the address that the owner names, with the key as addresses have it; the receipt has none."""
    told = deliver(
        rodin_plugin(PLUGIN, **table, link="public", public_url="https://cdn.test/3d/"), rodin_finished, name="ä b"
    )
    assert "https://cdn.test/3d/%C3%A4%20b-0123456789ab/base_basic_pbr.glb" in told
    assert "https://cdn.test/3d/%C3%A4%20b-0123456789ab/job.toml" not in told


# ---- files ----------------------------------------------------------------------------------------------------------


def test_a_file_that_is_gone_is_told(uploader: PluginUnderTest, rodin_finished: Finished, store: Client) -> None:
    """The receipt is not uploaded then: what is in the store is not taken for the whole result."""
    (rodin_finished.directory / "preview.webp").unlink()
    with pytest.raises(PluginError, match=r"preview\.webp"):
        deliver(uploader, rodin_finished)
    assert keys(store) == [f"{AT}base_basic_pbr.glb"]


@pytest.mark.parametrize("name", ["preview.webp", "../secret", "sub/secret", "pipe"])
def test_nothing_else_of_the_machine_is_sent(
    uploader: PluginUnderTest, rodin_finished: Finished, store: Client, name: str
) -> None:
    """Links, ways out of the folder and special files are refused."""
    outside = rodin_finished.directory.parent
    (outside / "secret").write_text("private")
    (rodin_finished.directory / "preview.webp").unlink()
    (rodin_finished.directory / "preview.webp").symlink_to(outside / "secret")
    (rodin_finished.directory / "sub").symlink_to(outside)
    os.mkfifo(rodin_finished.directory / "pipe")
    with pytest.raises(PluginError, match=r"is a link|is no file"):
        deliver(uploader, rodin_finished, results=(File(name, 7),))
    assert keys(store) == []


# ---- credentials ----------------------------------------------------------------------------------------------------


def test_credentials_come_from_a_file_of_amazon_s(
    rodin_plugin: OpenPlugin, rodin_finished: Finished, store: Client, address: str, tmp_path: Path
) -> None:
    """Any file in that form, and any profile in it."""
    file = tmp_path / "credentials"
    file.write_text(f"[other]\naws_access_key_id = theirs\naws_secret_access_key = {SECRET}\n")
    file.chmod(0o640)
    named = {"credentials_file": str(file), "profile": "other"}
    told = deliver(rodin_plugin(PLUGIN, bucket=BUCKET, endpoint_url=address, link="presigned", **named), rodin_finished)
    assert "X-Amz-Credential=theirs%2F" in told
    assert len(keys(store)) == 3


def test_credentials_come_from_the_home_folder(
    rodin_plugin: OpenPlugin, address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`~/.aws/credentials` is read when nothing is named; without it the plugin cannot be used, and says why."""
    (tmp_path / ".aws").mkdir()
    (tmp_path / ".aws" / "config").write_text("[default]\nmetadata_service_num_attempts = 0\n")
    monkeypatch.setenv("HOME", str(tmp_path))
    with pytest.raises(PluginError, match="There are no credentials"):
        rodin_plugin(PLUGIN, bucket=BUCKET, endpoint_url=address)
    (tmp_path / ".aws" / "credentials").write_text("[default]\naws_access_key_id = a\naws_secret_access_key = b\n")
    assert "rodin_delivered" in rodin_plugin(PLUGIN, bucket=BUCKET, endpoint_url=address).hooks


def test_a_variable_that_is_not_passed_on_is_told(
    rodin_plugin: OpenPlugin, table: Table, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The plugin's process does not see the service's variables; the error says how to change that."""
    monkeypatch.setenv("S3_SECRET", SECRET)
    del table["secret_access_key_file"]
    table["secret_access_key_variable"] = "S3_SECRET"  # noqa: S105 - a variable's name
    with pytest.raises(PluginError, match=r"S3_SECRET .* is not set.*plugins\.pass_environment") as caught:
        rodin_plugin(PLUGIN, **table)
    assert SECRET not in f"{caught.value} {caught.value.trace} {caught.value.output}"


def test_a_variable_that_is_passed_on_is_used(
    rodin_plugin: OpenPlugin, store: Client, rodin_finished: Finished, table: Table
) -> None:
    """HOME and PATH are always passed on; here they stand for what the owner passes on."""
    del table["secret_access_key_file"], table["access_key_id"]
    variables = {"access_key_id_variable": "HOME", "secret_access_key_variable": "PATH"}
    told = deliver(rodin_plugin(PLUGIN, **table, **variables, link="presigned"), rodin_finished)
    assert f"X-Amz-Credential={os.environ['HOME'].replace('/', '%2F')}%2F" in told
    assert len(keys(store)) == 3


def test_a_secret_that_everybody_can_read_is_refused(table: Table) -> None:
    """With the command that mends it, and without what it says."""
    Path(table["secret_access_key_file"]).chmod(0o644)
    said = refusal(PLUGIN, table)
    assert "run: chmod o-rw /" in said
    assert SECRET not in said


# ---- stores that do not do it ---------------------------------------------------------------------------------------


def test_a_store_that_is_not_there(rodin_plugin: OpenPlugin, rodin_finished: Finished, table: Table) -> None:
    """The error names it; the plugin itself is ready, for the store may come back."""
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))  # and does not listen
        table["endpoint_url"] = f"http://127.0.0.1:{held.getsockname()[1]}"
        plugin = rodin_plugin(PLUGIN, **table)
        with pytest.raises(PluginError, match=r"http://127.0.0.1:\d+ cannot be used: Could not connect") as caught:
            deliver(plugin, rodin_finished)
    assert SECRET not in f"{caught.value} {caught.value.trace} {caught.value.output}"


@pytest.mark.usefixtures("store")
def test_a_store_that_refuses(uploader: PluginUnderTest, rodin_finished: Finished, address: str) -> None:
    """Credentials that it does not know are told as such, without the secret."""
    requests.post(f"{address}/moto-api/reset-auth", data=b"0", timeout=10).raise_for_status()
    try:
        with pytest.raises(PluginError, match=r"does not accept the credentials \(InvalidAccessKeyId\)") as caught:
            deliver(uploader, rodin_finished)
    finally:
        requests.post(f"{address}/moto-api/reset-auth", data=b"inf", timeout=10).raise_for_status()
    assert SECRET not in f"{caught.value} {caught.value.trace} {caught.value.output}"


def test_a_key_that_may_not_write(uploader: PluginUnderTest, rodin_finished: Finished, store: Client) -> None:
    """The bucket's own rule is told by the name of what was not allowed."""
    rule = {"Effect": "Deny", "Principal": "*", "Action": "s3:PutObject", "Resource": f"arn:aws:s3:::{BUCKET}/*"}
    store.put_bucket_policy(Bucket=BUCKET, Policy=json.dumps({"Version": "2012-10-17", "Statement": [rule]}))
    with pytest.raises(PluginError, match="does not allow PutObject in the bucket results"):
        deliver(uploader, rodin_finished)


class OnlyWritable(BaseHTTPRequestHandler):
    """A store whose keys may write and not look: it answers HEAD as Amazon does then."""

    protocol_version = "HTTP/1.1"
    taken: ClassVar[list[str]] = []

    def do_HEAD(self) -> None:
        """Refuse."""
        self._answer(403)

    def do_PUT(self) -> None:
        """Take it."""
        self.rfile.read(int(self.headers["Content-Length"]))
        self.taken.append(self.path)
        self._answer(200)

    def _answer(self, status: int) -> None:
        self.send_response(status)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Say nothing."""


def test_a_key_that_may_only_write(rodin_plugin: OpenPlugin, rodin_finished: Finished, table: Table) -> None:
    """It cannot learn what is there: all is uploaded."""
    with ThreadingHTTPServer(("127.0.0.1", 0), OnlyWritable) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,)).start()
        address = f"http://127.0.0.1:{server.server_port}"
        deliver(rodin_plugin(PLUGIN, **{**table, "endpoint_url": address}), rodin_finished)
        server.shutdown()
    assert OnlyWritable.taken == [f"/results/{AT}{name}" for name in ("base_basic_pbr.glb", "preview.webp", "job.toml")]


@pytest.mark.usefixtures("store")
def test_a_bucket_that_is_not_there(rodin_plugin: OpenPlugin, rodin_finished: Finished, table: Table) -> None:
    """By its name, and the store's."""
    with pytest.raises(PluginError, match="There is no bucket elsewhere at http"):
        deliver(rodin_plugin(PLUGIN, **{**table, "bucket": "elsewhere"}), rodin_finished)


@pytest.mark.usefixtures("store")
def test_a_key_that_is_too_long(uploader: PluginUnderTest, rodin_finished: Finished) -> None:
    """It is said before anything is sent."""
    with pytest.raises(PluginError, match="longer than 1024 bytes"):
        deliver(uploader, rodin_finished, folder="/".join(["ä" * 100] * 6))


# ---- the table ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"bucket": ""}, "bucket: "),
        ({"prefix": "{nam}/"}, r"prefix: .*there is no \{nam\}"),
        ({"prefix": "all/"}, "prefix: .*overwrite"),
        ({"prefix": "{name!r}"}, "prefix: .*plain names"),
        ({"prefix": "{name"}, "prefix: "),
        ({"prefix": "{name.__class__}"}, "prefix: .*there is no"),
        ({"endpoint_url": "store:9000"}, "endpoint_url: .*http or https"),
        ({"link": "public"}, "needs public_url"),
        ({"link_hours": 169}, "link_hours: "),
        ({"part_megabytes": 4}, "part_megabytes: "),
        ({"access_key_id_variable": "ID"}, "each in one place"),
        ({"access_key_id": None}, "are named together"),
        ({"profile": "other"}, "either an access key is named"),
    ],
)
def test_wrong_settings_are_refused(changed: Table, told: str) -> None:
    """At the check, by name."""
    table = {"bucket": "b", "access_key_id": "ours", "secret_access_key_file": "/secret", **changed}
    with pytest.raises(ValidationError) as caught:
        Settings.model_validate(table)
    said = [f"{'.'.join(map(str, problem['loc']))}: {problem['msg']}" for problem in caught.value.errors()]
    assert re.search(told, "\n".join(said))


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"ca_file": "/nowhere/ca.pem"}, "There is no file /nowhere/ca.pem"),
        ({"secret_access_key_file": "/nowhere/secret"}, "/nowhere/secret .* cannot be read: No such file"),
        ({"endpoint_url": "http://user:hidden@store"}, "endpoint_url: .*without user"),
        ({"secret": "hidden"}, "secret: "),
    ],
)
def test_what_the_service_is_told(table: Table, changed: Table, told: str) -> None:
    """When the plugin is loaded; without what was written there."""
    said = refusal(PLUGIN, {**table, **changed})
    assert re.search(told, said)
    assert "hidden" not in said


def test_without_its_library_it_says_what_to_install(rodin_plugin: OpenPlugin, tmp_path: Path) -> None:
    """One sentence with the command."""
    bare = tmp_path / "bare.py"
    bare.write_text("import sys\nsys.modules['boto3'] = None\nfrom rodin_watchd_plugins.upload_s3 import *\n")
    with pytest.raises(PluginError, match=r"boto3 is missing; run: pip install 'rodin-watchd\[upload-s3\]'"):
        rodin_plugin(bare, bucket=BUCKET)
