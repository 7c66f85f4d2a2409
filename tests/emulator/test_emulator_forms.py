"""Multipart and form bodies, as clients write them and as they do not."""

from __future__ import annotations

import pytest
import requests
from hypothesis import given, settings
from hypothesis import strategies as st

from rodin_watchd.emulator.forms import EmulatedRefusal, parse_fields, parse_multipart


def encoded(files: dict[str, tuple[str | None, bytes]]) -> tuple[bytes, str]:
    """Write a body as requests does."""
    request = requests.Request("POST", "http://127.0.0.1", files=files).prepare()
    assert isinstance(request.body, bytes)
    return request.body, request.headers["Content-Type"]


@settings(max_examples=60, deadline=None)
@given(st.binary(max_size=300), st.binary(max_size=300))
def test_what_is_sent_is_read(model: bytes, text: bytes) -> None:
    """Any bytes come through, as a file or as text."""
    form = parse_multipart(*encoded({"model": ("a b.glb", model), "prompt": (None, text)}))
    assert form.files("model") == (model,)
    assert form.files("prompt") == ()
    assert form.texts() == {"prompt": text.decode(errors="replace")}


def test_every_cut_is_noticed() -> None:
    """A body without all of its closing boundary is refused, wherever it was cut."""
    body, content_type = encoded({"model": ("a", b"xyz"), "prompt": (None, b"hello")})
    for kept in range(len(body) - len("\r\n")):
        with pytest.raises(EmulatedRefusal, match=r"closing boundary|cannot be read"):
            parse_multipart(body[:kept], content_type)


@pytest.mark.parametrize("content_type", ["", "multipart/form-data", "multipart/mixed; boundary=x", "text/plain"])
def test_other_content_types_are_refused(content_type: str) -> None:
    """What is no multipart form is HTTP 415."""
    with pytest.raises(EmulatedRefusal, match="no multipart") as raised:
        parse_multipart(b"--x--", content_type)
    assert raised.value.status == 415


@settings(max_examples=60, deadline=None)
@given(st.binary(max_size=200), st.sampled_from(["multipart/form-data; boundary=x", "application/json", "a=b"]))
def test_hostile_bodies_are_read_or_refused(body: bytes, content_type: str) -> None:
    """Random bytes give fields or a Refusal, nothing else."""
    try:
        fields = parse_fields(body, content_type)
    except EmulatedRefusal:
        return
    assert all(isinstance(value, str) for value in fields.values())


def test_json_words_that_are_no_text_are_not_taken() -> None:
    """Numbers and lists in the place of a key count as missing."""
    assert parse_fields(b'{"task_uuid": ["x"], "other": "y"}', "application/json") == {"other": "y"}
