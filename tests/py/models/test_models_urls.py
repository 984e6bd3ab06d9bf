"""Models from plain web servers: no one promises a hash, so that everything else is checked the more."""

from __future__ import annotations

import base64
import hashlib
from pathlib import Path

import pytest
from lying_hub import LyingHub, gguf_bytes, html, pause_after, short, status, until_closed

from pocketllama import models
from pocketllama.errors import DownloadCorrupt, DownloadError, ModelNotFound, OfflineError, UsageError

DATA = gguf_bytes(50_000, seed=7)


@pytest.fixture
def url(hub: LyingHub) -> str:
    hub.web["some model.gguf"] = DATA
    return f"{hub.endpoint}/web/some%20model.gguf"


def break_off(hub: LyingHub, url: str, count: int = 70_000) -> None:
    hub.lie("web", short(count))
    hub.lie("web", always=short(0))
    with pytest.raises(DownloadError):
        models.pull(url)
    hub.honest()
    hub.seen.clear()


def keep_etag(handler, data):  # type: ignore[no-untyped-def]
    """A short answer as honest in its headers as the server's own."""
    handler.say(200, {"ETag": '"one"', "X-Length": str(len(data))}, data[:70_000])
    handler.hang_up()


def test_pull_list_show_verify_rm(hub: LyingHub, url: str, home: Path) -> None:
    with pytest.raises(ModelNotFound):
        models.find(url)
    model = models.pull(url)
    assert model.path.read_bytes() == DATA and model.source == "url" and model.name == url
    assert model.path.name == "some_model.gguf" and model.path.is_relative_to(home / "data" / "models")
    assert models.find(url) == model and [each for each in models.list_models() if each.source == "url"] == [model]
    assert models.show(url)["sha256"] == [hashlib.sha256(DATA).hexdigest()]
    assert models.verify(url)[0].recorded
    hub.seen.clear()
    models.pull(url)
    assert not hub.seen
    model.path.write_bytes(DATA[:-1] + b"x")
    with pytest.raises(DownloadCorrupt, match="damaged"):
        models.verify(url)
    assert model.path in models.remove(url)
    assert not list((home / "data" / "models").rglob("*"))
    with pytest.raises(ModelNotFound):
        models.remove(url)


def test_a_file_of_another_length_than_recorded_is_no_model(url: str) -> None:
    model = models.pull(url)
    model.path.write_bytes(DATA[:-1])
    with pytest.raises(ModelNotFound):
        models.find(url)
    assert models.pull(url).path.read_bytes() == DATA


def test_it_resumes_where_the_server_says_which_file_it_is(hub: LyingHub, url: str) -> None:
    hub.web_headers["ETag"] = '"one"'
    hub.lie("web", keep_etag)
    hub.lie("web", always=status(503))
    with pytest.raises(DownloadError):
        models.pull(url)
    hub.honest()
    hub.seen.clear()
    assert models.pull(url).path.read_bytes() == DATA
    (asked,) = hub.seen
    assert (asked.headers["range"], asked.headers["if-range"]) == ("bytes=70000-", '"one"')


def test_a_file_that_changed_meanwhile_comes_whole(hub: LyingHub, url: str) -> None:
    hub.web_headers["ETag"] = '"one"'
    hub.lie("web", keep_etag)
    hub.lie("web", always=status(503))
    with pytest.raises(DownloadError):
        models.pull(url)
    hub.honest()
    hub.web["some model.gguf"] = new = gguf_bytes(60_000, seed=8)
    hub.web_headers["ETag"] = '"two"'
    assert models.pull(url).path.read_bytes() == new


def test_without_a_validator_it_starts_over(hub: LyingHub, url: str) -> None:
    hub.web_headers["ETag"] = ""
    break_off(hub, url)
    assert models.pull(url).path.read_bytes() == DATA
    assert "range" not in hub.seen[0].headers


@pytest.mark.parametrize("notes", ["", "[]", "{}", '{"validator": 7, "size": "x"}', "[" * 100_000])
def test_spoilt_notes_mean_a_new_start(hub: LyingHub, url: str, home: Path, notes: str) -> None:
    break_off(hub, url)
    (path,) = home.rglob("*.incomplete.json")
    path.write_text(notes)
    assert models.pull(url).path.read_bytes() == DATA


@pytest.mark.parametrize(
    "headers",
    [
        {"Repr-Digest": "sha-512=:AAAA:, sha-256=:{}:"},
        {"Digest": "SHA-256={}"},
        {"x-amz-checksum-sha256": "{}"},
    ],
)
def test_a_digest_that_the_server_sends_is_compared(hub: LyingHub, url: str, headers: dict[str, str]) -> None:
    wrong, right = (base64.b64encode(hashlib.sha256(data).digest()).decode() for data in (b"", DATA))
    hub.web_headers |= {key: value.format(wrong) for key, value in headers.items()}
    with pytest.raises(DownloadCorrupt, match="sha256"):
        models.pull(url)
    hub.web_headers |= {key: value.format(right) for key, value in headers.items()}
    models.pull(url)


def test_a_digest_over_parts_is_none(hub: LyingHub, url: str) -> None:
    hub.web_headers["x-amz-checksum-sha256"] = base64.b64encode(bytes(32)).decode() + "-5"
    models.pull(url)


def test_a_body_cut_where_no_length_told_of_it(hub: LyingHub, url: str, home: Path) -> None:
    hub.lie("web", always=until_closed(lambda data: data[:-1]))
    with pytest.raises(DownloadCorrupt, match="no usable model"):
        models.pull(url)
    with pytest.raises(ModelNotFound):
        models.find(url)
    assert not list(home.rglob("*.incomplete"))


@pytest.mark.parametrize("kind", ["text/html", "application/octet-stream"])
def test_a_page_is_no_model(hub: LyingHub, url: str, kind: str) -> None:
    hub.lie("web", html(kind))
    with pytest.raises(DownloadCorrupt, match="HTML page"):
        models.pull(url)


def test_404(hub: LyingHub) -> None:
    with pytest.raises(DownloadError, match="HTTP 404"):
        models.pull(f"{hub.endpoint}/web/nothing.gguf")


def test_no_token_leaves_for_other_hosts(hub: LyingHub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    hub.web["x.gguf"] = DATA
    models.pull(f"{hub.cdn}/web/x.gguf")
    assert all("hf_secret" not in str(each) for each in hub.seen)


def test_a_split_model_by_the_address_of_one_part(hub: LyingHub) -> None:
    parts = {f"big-0000{n}-of-00002.gguf": gguf_bytes(100 * n, seed=n) for n in (1, 2)}
    hub.web |= parts
    url = f"{hub.endpoint}/web/big-00001-of-00002.gguf?key=1"
    model = models.pull(url)
    assert [file.read_bytes() for file in model.files] == list(parts.values())
    assert [each.files for each in models.list_models() if each.source == "url"] == [model.files]
    assert len(models.remove(url)) == 4


def test_addresses_that_look_alike_do_not_share_a_file(hub: LyingHub) -> None:
    hub.web |= {"a/m.gguf": gguf_bytes(10, seed=1), "b/m.gguf": gguf_bytes(10, seed=2)}
    first, second = (models.pull(f"{hub.endpoint}/web/{name}") for name in ("a/m.gguf", "b/m.gguf"))
    assert first.path.read_bytes() != second.path.read_bytes()


@pytest.mark.parametrize(
    "path", ["..%2F..%2Fx.gguf", "%00.gguf", ".gguf", "CON", "a%5Cb.gguf", "x" * 400 + ".gguf", "x.gguf%0A", "%FF.bin"]
)
def test_a_hostile_address_stays_inside(home: Path, path: str) -> None:
    from pocketllama.models import urls

    place = urls.place(f"https://..%2Fexample.org:1/{path}")
    inside = place.relative_to(home / "data" / "models")
    assert len(inside.parts) == 3 and all(part.isascii() and not part.startswith(".") for part in inside.parts)
    assert place.suffix in (".gguf", ".bin") and len(place.name) < 200


def test_offline_and_plain_http(hub: LyingHub, url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UsageError, match="plain http"):
        models.pull("http://192.0.2.1/x.gguf")
    monkeypatch.setenv("POCKETLLAMA_OFFLINE", "yes")
    with pytest.raises(OfflineError):
        models.pull(url)


def test_records_of_others_are_not_believed(hub: LyingHub, url: str, home: Path) -> None:
    model = models.pull(url)
    record = model.path.with_name(model.path.name + ".json")
    good = record.read_text()
    for text in (
        "",
        "[]",
        "{}",
        good.replace(f'"{url}"', '"file:///etc/passwd"'),
        good.replace('"sha256": "', '"sha256": "..'),
    ):
        record.write_text(text)
        listed = [each for each in models.list_models() if each.source == "url"]
        assert all(each.path == model.path for each in listed)


def test_a_stall(hub: LyingHub, url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("POCKETLLAMA_STALL", "0.5")
    hub.lie("web", pause_after(70_000))
    assert models.pull(url).path.read_bytes() == DATA
