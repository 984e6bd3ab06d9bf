"""pull against an honest hub: what arrives, where, for whom, and what is asked of whom."""

from __future__ import annotations

import hashlib
import os
import shutil
import ssl
import subprocess
import sys
from pathlib import Path

import huggingface_hub
import pytest
from lying_hub import MAIN, LyingHub, Repo, gguf_bytes, git_hash, status

from pocketllama import models
from pocketllama.errors import DownloadError, ModelNotFound, OfflineError, UsageError
from pocketllama.models import ProgressEvent, registry

TINY = "hf:owner/tiny-GGUF"


def test_pull_brings_the_preferred_quantization_and_find_sees_it(hub: LyingHub, cache: Path) -> None:
    with pytest.raises(ModelNotFound) as before:
        models.find(TINY)
    assert before.value.remedy == f"pocketllama pull {TINY}"
    model = models.pull(TINY)
    assert [each.path.split("/")[1] for each in hub.seen] == ["api", "owner", "cdn"], (
        "nothing but the model is asked for"
    )
    data = hub.repos["owner/tiny-GGUF"].files["tiny-Q4_K_M.gguf"]
    assert model.path.read_bytes() == data
    assert model.path == cache / "models--owner--tiny-GGUF" / "snapshots" / MAIN / "tiny-Q4_K_M.gguf"
    assert (model.size, model.source, model.licence, model.revision) == (len(data), "hub", "apache-2.0", MAIN)
    assert models.find(TINY).path == model.path
    assert models.find(f"{TINY}:q4_k_m").path == model.path


def test_the_layout_is_the_hubs_own(hub: LyingHub, cache: Path) -> None:
    """What we pull, huggingface_hub finds, and its scan has nothing to complain of."""
    model = models.pull(TINY)
    where = {"repo_id": "owner/tiny-GGUF", "filename": "tiny-Q4_K_M.gguf", "cache_dir": cache}
    assert huggingface_hub.try_to_load_from_cache(**where) == str(model.path)
    assert huggingface_hub.hf_hub_download(**where, local_files_only=True) == str(model.path)
    blob = model.path.readlink()
    assert not blob.is_absolute() and blob.name == hashlib.sha256(model.path.read_bytes()).hexdigest()
    scan = huggingface_hub.scan_cache_dir(cache)
    assert not scan.warnings
    assert [file.file_name for repo in scan.repos for rev in repo.revisions for file in rev.files] == [model.path.name]
    assert (cache / "CACHEDIR.TAG").is_file()


def test_what_huggingface_hub_downloaded_is_found(hub: LyingHub, cache: Path) -> None:
    theirs = huggingface_hub.hf_hub_download(
        "owner/tiny-GGUF", "tiny-Q8_0.gguf", cache_dir=cache, endpoint=hub.endpoint, token=False
    )
    before = len(hub.seen)
    model = models.pull(f"{TINY}:Q8_0")
    assert str(model.path) == theirs and len(hub.seen) == before
    assert [each.name for each in models.list_models() if each.source == "hub"] == [f"{TINY}:tiny-Q8_0.gguf"]
    assert models.verify(f"{TINY}:Q8_0")[0].recorded


def test_a_second_pull_asks_nothing(hub: LyingHub) -> None:
    models.pull(TINY)
    before = len(hub.seen)
    models.pull(TINY)
    assert len(hub.seen) == before


def test_a_blob_that_another_revision_brought_is_not_fetched_again(hub: LyingHub) -> None:
    repo = hub.repos["owner/tiny-GGUF"]
    models.pull(f"{TINY}:Q8_0")
    repo.commit, repo.revisions = "b" * 40, ("main", "v2")
    hub.seen.clear()
    model = models.pull(f"{TINY}@v2:Q8_0")
    assert model.revision == "b" * 40 and not hub.asked("cdn")
    assert {each.name for each in models.list_models() if each.source == "hub"} == {f"{TINY}:tiny-Q8_0.gguf"}, (
        "one file of two snapshots is one model"
    )


def test_a_model_stays_found_when_main_moves_on(hub: LyingHub) -> None:
    models.pull(f"{TINY}:Q8_0")
    hub.repos["owner/tiny-GGUF"].commit = "b" * 40
    models.pull(f"{TINY}:Q4_K_M")
    assert models.find(f"{TINY}:Q8_0").revision == MAIN
    assert models.find(f"{TINY}:Q4_K_M").revision == "b" * 40
    with pytest.raises(ModelNotFound):
        models.find(f"{TINY}@{'c' * 40}:Q8_0")


def test_the_token_goes_to_the_hub_and_not_to_its_cdn(hub: LyingHub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    hub.repos["owner/tiny-GGUF"].gated = True
    models.pull(TINY)
    assert {each.headers.get("authorization") for each in hub.asked("api") + hub.asked("resolve")} == {
        "Bearer hf_secret"
    }
    assert hub.asked("cdn")
    assert all("hf_secret" not in str(each) for each in hub.asked("cdn"))


def test_the_token_file_is_read(hub: LyingHub, home: Path) -> None:
    (home / "hf").mkdir()
    (home / "hf" / "token").write_text("hf_from_file\n")
    models.pull(TINY)
    assert hub.asked("api")[0].headers["authorization"] == "Bearer hf_from_file"


def test_a_gated_repository_says_where_to_accept_its_licence(hub: LyingHub) -> None:
    hub.repos["owner/tiny-GGUF"].gated = True
    with pytest.raises(DownloadError) as refusal:
        models.pull(TINY)
    assert refusal.value.data["gated"]
    assert f"{hub.endpoint}/owner/tiny-GGUF" in str(refusal.value.remedy) and "HF_TOKEN" in str(refusal.value.remedy)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("hf:owner/nothing", "not on the hub, or it is private"),
        (f"{TINY}@no-such-branch", "no branch, tag or commit"),
        (f"{TINY}:Q2_K", "has no Q2_K file; it has tiny-Q4_K_M.gguf, tiny-Q8_0.gguf"),
        (f"{TINY}:tiny-Q4_K.gguf", "holds no file"),
    ],
)
def test_what_the_hub_does_not_have(hub: LyingHub, name: str, said: str) -> None:
    with pytest.raises(ModelNotFound, match=said):
        models.pull(name)


def test_a_refused_token_is_no_missing_model(hub: LyingHub) -> None:
    hub.lie("api", status(401, {"X-Error-Message": "Invalid credentials in Authorization header"}))
    with pytest.raises(DownloadError, match="does not accept the token"):
        models.pull(TINY)


def test_a_token_that_cannot_be_had(hub: LyingHub, monkeypatch: pytest.MonkeyPatch) -> None:
    def expired() -> str:
        raise RuntimeError("the login has expired")

    monkeypatch.setattr(huggingface_hub, "get_token", expired)
    with pytest.raises(DownloadError, match="the login has expired") as refusal:
        models.pull(TINY)
    assert "HF_TOKEN" in str(refusal.value.remedy) and not hub.seen


@pytest.mark.parametrize("variable", ["HF_HUB_OFFLINE", "POCKETLLAMA_OFFLINE", "TRANSFORMERS_OFFLINE"])
def test_offline_asks_nobody(hub: LyingHub, monkeypatch: pytest.MonkeyPatch, variable: str) -> None:
    monkeypatch.setenv(variable, "1")
    with pytest.raises(OfflineError, match=variable):
        models.pull(TINY)
    assert not hub.seen


def test_an_alias_is_its_repository(hub: LyingHub, monkeypatch: pytest.MonkeyPatch) -> None:
    entry = registry.Alias("small", "owner/tiny-GGUF", "mit", "1M", 1, "llama", "tests", quant="Q8_0")
    monkeypatch.setattr(registry, "aliases", lambda: {"small": entry})
    model = models.pull("small")
    assert model.path.name == "tiny-Q8_0.gguf" and model.name == "small"
    assert models.find("small").licence == "mit"
    assert [each.name for each in models.list_models() if each.source == "hub"] == ["small"]


def test_a_mirror_that_lists_names_only(hub: LyingHub) -> None:
    hub.repos["owner/tiny-GGUF"].blobs = False
    model = models.pull(TINY)
    assert model.path.read_bytes() == hub.repos["owner/tiny-GGUF"].files["tiny-Q4_K_M.gguf"]
    assert [each.method for each in hub.asked("resolve")] == ["HEAD", "GET"]


@pytest.mark.parametrize("blobs", [True, False])
def test_a_file_outside_the_large_file_store_is_checked_by_its_git_hash(hub: LyingHub, blobs: bool) -> None:
    repo = hub.repos["owner/tiny-GGUF"]
    repo.lfs, repo.blobs = False, blobs
    model = models.pull(TINY)
    assert model.path.readlink().name == git_hash(model.path.read_bytes())
    assert models.verify(TINY)[0].recorded
    assert models.show(TINY)["sha256"] == [None]


def test_a_split_model_is_one(hub: LyingHub) -> None:
    parts = {f"big-Q4_K_M-0000{n}-of-00003.gguf": gguf_bytes(1000 * n, seed=n) for n in (1, 2, 3)}
    hub.repos["owner/big-GGUF"] = Repo(dict(reversed(parts.items())))
    events: list[ProgressEvent] = []
    model = models.pull("hf:owner/big-GGUF", progress=events.append)
    assert [file.name for file in model.files] == list(parts) and model.path == model.files[0]
    assert model.size == sum(map(len, parts.values()))
    assert {event.file for event in events if not event.note} == set(parts)
    assert models.show("hf:owner/big-GGUF")["parameters"] == 6000
    assert [each.name for each in models.list_models() if each.source == "hub"] == [
        "hf:owner/big-GGUF:big-Q4_K_M-00001-of-00003.gguf"
    ]
    model.files[1].unlink()
    with pytest.raises(ModelNotFound) as missing:
        models.find("hf:owner/big-GGUF")
    assert str(missing.value.remedy).startswith("pocketllama pull")
    assert models.list_models() == [each for each in models.list_models() if each.source == "embedded"]
    assert models.pull("hf:owner/big-GGUF").files == model.files, "only the link was gone"


def test_a_split_model_with_a_part_that_the_hub_lacks(hub: LyingHub) -> None:
    hub.repos["owner/big-GGUF"] = Repo({f"big-0000{n}-of-00003.gguf": gguf_bytes(10, seed=n) for n in (1, 3)})
    with pytest.raises(ModelNotFound, match=r"big-00002-of-00003\.gguf missing"):
        models.pull("hf:owner/big-GGUF")
    assert not hub.asked("resolve")


def test_progress_counts_to_the_end_and_a_resume_starts_where_it_was(hub: LyingHub) -> None:
    events: list[ProgressEvent] = []
    model = models.pull(TINY, progress=events.append)
    assert events[0].done == 0 and events[-1] == ProgressEvent("tiny-Q4_K_M.gguf", model.size, model.size)
    assert [event.done for event in events] == sorted(event.done for event in events)


def test_an_address_of_the_hub_is_the_hubs_file(hub: LyingHub) -> None:
    model = models.pull(f"{hub.endpoint}/owner/tiny-GGUF/resolve/main/tiny-Q8_0.gguf?download=true")
    assert model.source == "hub" and model.path.name == "tiny-Q8_0.gguf"
    assert models.find(f"{TINY}:Q8_0").path == model.path


def test_plain_http_to_another_machine_needs_permission(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_ENDPOINT", "http://hub.invalid")
    with pytest.raises(UsageError, match=r"plain http to hub\.invalid") as refusal:
        models.pull(TINY)
    assert "POCKETLLAMA_ALLOW_HTTP" in str(refusal.value.remedy)


def test_a_proxy_is_used(hub: LyingHub, home: Path) -> None:
    """HTTP_PROXY is read when the HTTP client is made, hence a process of its own."""
    environment = {**os.environ, "HF_ENDPOINT": "http://hub.invalid", "POCKETLLAMA_ALLOW_HTTP": "1"}
    environment |= {"HTTP_PROXY": hub.endpoint, "NO_PROXY": "127.0.0.1", "PYTHONPATH": str(home_of_package())}
    done = run(f"from pocketllama import models; print(models.pull({TINY!r}).size)", environment)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) == len(hub.repos["owner/tiny-GGUF"].files["tiny-Q4_K_M.gguf"])


def test_certificates_come_from_ssl_cert_file(home: Path) -> None:
    """Over real TLS: refused while the hub's certificate is unknown, fine once SSL_CERT_FILE names it."""
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("needs the openssl command to make a certificate")
    made = [openssl, "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2"]
    made += ["-subj", "/CN=hub", "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", "key.pem", "-out", "cert.pem"]
    subprocess.run(made, cwd=home, check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(home / "cert.pem", home / "key.pem")
    hub = LyingHub(tls=context)
    try:
        hub.repos["owner/tiny-GGUF"] = Repo({"tiny.gguf": gguf_bytes(50_000)})
        environment = {**os.environ, "HF_ENDPOINT": hub.endpoint, "PYTHONPATH": str(home_of_package())}
        code = f"from pocketllama import models; print(models.pull({TINY!r}).size)"
        refused = run(code, environment)
        assert "DownloadError: the certificate of 127.0.0.1 cannot be trusted" in refused.stderr
        done = run(code, {**environment, "SSL_CERT_FILE": str(home / "cert.pem")})
        assert done.stdout.strip() == str(len(gguf_bytes(50_000))), done.stderr
    finally:
        hub.close()


def test_importing_models_costs_no_http_client() -> None:
    code = (
        "import sys; from pocketllama import models; models.list_models()\n"
        "print([name for name in ('huggingface_hub', 'httpx2', 'httpx', 'tqdm', 'filelock') if name in sys.modules])"
    )
    done = run(code, {**os.environ, "PYTHONPATH": str(home_of_package())})
    assert done.stdout.strip() == "[]", done.stderr


def run(code: str, environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, timeout=60, check=False
    )


def home_of_package() -> Path:
    return Path(models.__file__).resolve().parents[2]
