"""pull killed, interrupted, raced, out of disk: the next one gives the right file, and no partial one is ever seen."""

from __future__ import annotations

import contextlib
import errno
import os
import random
import signal
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import huggingface_hub
import pytest
from conftest import Puller
from lying_hub import LyingHub, Repo, gguf_bytes, never_answer, pause_after, short, wait_for

from pocketllama import models
from pocketllama.errors import Cancelled, DownloadError, ModelNotFound, StorageError
from pocketllama.models import disk

TINY = "hf:owner/tiny-GGUF"
KILLS = [pytest.param(20, id="20")]
KILLS += [
    pytest.param(
        200,
        id="200",
        marks=[
            pytest.mark.slow,
            pytest.mark.skipif(not os.environ.get("POCKETLLAMA_SLOW"), reason="slow: set POCKETLLAMA_SLOW=1"),
        ],
    )
]


def data(hub: LyingHub) -> bytes:
    return hub.repos["owner/tiny-GGUF"].files["tiny-Q4_K_M.gguf"]


def visible(cache: Path) -> list[Path]:
    """Finished files under any name that another program would open."""
    return [path for path in cache.rglob("*.gguf") if path.is_file()]


@pytest.mark.parametrize("kills", KILLS)
def test_killed_at_random_offsets(hub: LyingHub, puller: Puller, cache: Path, kills: int) -> None:
    """SIGKILL when so many bytes are sent, or written; then the next process goes on from what is there."""
    dice, size, resumed = random.Random(kills), len(data(hub)), 0
    for _ in range(kills):
        if dice.random() < 0.2 or visible(cache):
            models_gone(hub)
        hub.sent.clear()
        hub.release.clear()
        before = size if whole(cache, size) else there(cache)
        end = dice.choice([size, dice.randint(before, size), dice.randint(before, size), dice.randint(before, size)])
        hub.lie("cdn", pause_after(end - before))
        pid = puller.start(TINY)
        if before < size:  # else nothing is left to fetch, and the hub is not asked for a byte
            assert hub.sent.wait(20)
            if dice.random() < 0.8:
                wait_for(lambda end=end: there(cache) == end or visible(cache) != [])
            os.kill(pid, signal.SIGKILL)
        assert puller.wait(pid) in (-signal.SIGKILL, 0)  # 0: with the last byte sent, it was done before the signal
        hub.release.set()
        hub.honest()
        assert all(path.read_bytes() == data(hub) for path in visible(cache))
        resumed += any("range" in each.headers for each in hub.asked("cdn"))
        hub.seen.clear()
    assert models.pull(TINY).path.read_bytes() == data(hub)
    assert models.verify(TINY)[0].recorded
    assert resumed > kills / 4, "most of them went on from where the last one died"


def there(cache: Path) -> int:
    """Bytes in the partial file."""
    for path in cache.rglob("*.incomplete"):
        with contextlib.suppress(FileNotFoundError):
            return path.stat().st_size
    return 0


def whole(cache: Path, size: int) -> bool:
    """Whether the blob is complete: a kill may fall between its rename and the link to it."""
    return any(path.stat().st_size == size for path in cache.glob("models--*/blobs/*") if path.suffix == "")


def models_gone(hub: LyingHub) -> None:
    try:
        models.remove(TINY)
    except ModelNotFound:
        pass


def test_killed_at_every_change_of_the_disk(hub: LyingHub, puller: Puller, cache: Path) -> None:
    hub.repos["owner/tiny-GGUF"].files["tiny-Q4_K_M.gguf"] = gguf_bytes(1000, seed=9)
    for step in range(1, 100):
        models_gone(hub)
        assert not list(cache.glob("models--*")), "rm leaves nothing of what crashes left"
        pid = puller.start(TINY, die_at=step)
        ended = puller.wait(pid)
        assert all(path.read_bytes() == data(hub) for path in visible(cache))
        assert models.pull(TINY).path.read_bytes() == data(hub)
        assert models.verify(TINY)[0].recorded
        assert not huggingface_hub.scan_cache_dir(cache).warnings
        if ended == 0:
            break
        assert ended == -signal.SIGKILL
    assert step > 10, "write, fsync, rename, link and folder were all among them"


CALLS = ("make_folder", "open_part", "write", "fsync", "replace")


@pytest.mark.parametrize(
    ("source", "fault"),
    [("hub", errno.ENOSPC), ("hub", errno.EIO), ("hub", errno.EROFS), ("url", errno.ENOSPC), ("url", errno.EIO)],
)
def test_a_disk_that_fails_at_every_step(
    hub: LyingHub, cache: Path, home: Path, monkeypatch: pytest.MonkeyPatch, fault: int, source: str
) -> None:
    small = gguf_bytes(1000, seed=9)
    hub.repos["owner/tiny-GGUF"].files["tiny-Q4_K_M.gguf"] = small
    hub.web["x.gguf"] = small
    name = TINY if source == "hub" else f"{hub.endpoint}/web/x.gguf"
    failed = set()
    for call in CALLS:
        for step in range(1, 50):
            with monkeypatch.context() as patch:
                done = fail_at(patch, call, step, fault)
                try:
                    models.pull(name)
                except StorageError as error:
                    failed.add(call)
                    assert os.strerror(fault) in str(error) or "disk" in str(error) or "read-only" in str(error)
                    assert error.data["errno"] == fault
                struck = done()
            seen = [path for path in home.rglob("*.gguf") if path.is_file()]
            assert all(path.read_bytes() == small for path in seen)
            assert models.pull(name).path.read_bytes() == small, "the cache stays usable"
            assert not list(home.rglob("*.tmp"))
            models.remove(name)
            if not struck:
                break
    assert failed == set(CALLS)


def fail_at(patch: pytest.MonkeyPatch, call: str, step: int, fault: int) -> Callable[[], bool]:
    """Makes the `step`-th use of disk.`call` fail; the answer says whether it came to that."""
    real, count = getattr(disk, call), 0

    def failing(*args: object) -> object:
        nonlocal count
        count += 1
        if count == step:
            error = OSError(fault, os.strerror(fault))
            if call == "make_folder":  # it carries its own guard
                with disk.guard("make the folder", Path(str(args[0]))):
                    raise error
            raise error
        return real(*args)

    patch.setattr(disk, call, failing)
    return lambda: count >= step


def test_too_little_disk_is_said_before_a_byte_comes(
    hub: LyingHub, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(disk, "free_bytes", lambda folder: disk.MARGIN + 100_000)
    with pytest.raises(StorageError, match=r"needs 200 kB of disk, and .* has 100 kB to spare") as full:
        models.pull(TINY)
    assert full.value.data["needed"] == len(data(hub))
    assert not hub.asked("cdn") and not cache.exists()


def test_what_is_here_already_needs_no_space(hub: LyingHub, monkeypatch: pytest.MonkeyPatch) -> None:
    hub.lie("cdn", short(150_000))
    hub.lie("cdn", always=short(0))
    with pytest.raises(DownloadError):
        models.pull(TINY)
    hub.honest()
    monkeypatch.setattr(disk, "free_bytes", lambda folder: disk.MARGIN + 100_000)
    models.pull(TINY)


def test_all_parts_of_a_split_model_must_fit(hub: LyingHub, monkeypatch: pytest.MonkeyPatch) -> None:
    hub.repos["owner/big"] = Repo({f"b-0000{n}-of-00002.gguf": gguf_bytes(20_000, seed=n) for n in (1, 2)})
    monkeypatch.setattr(disk, "free_bytes", lambda folder: disk.MARGIN + 100_000)
    with pytest.raises(StorageError, match="needs 160 kB"):
        models.pull("hf:owner/big")


@pytest.mark.skipif(sys.platform == "win32" or os.geteuid() == 0, reason="root may write anywhere")
def test_a_cache_that_may_not_be_written(hub: LyingHub, cache: Path) -> None:
    cache.mkdir(parents=True)
    cache.chmod(0o500)
    with pytest.raises(StorageError, match="no permission"):
        models.pull(TINY)


def test_a_file_in_place_of_a_folder(hub: LyingHub, cache: Path) -> None:
    cache.parent.mkdir()
    cache.write_text("not a folder")
    with pytest.raises(StorageError, match="cannot make the folder"):
        models.pull(TINY)


def test_eight_processes_make_one_file(hub: LyingHub, puller: Puller, cache: Path) -> None:
    """The first to ask is held until all the others stand in line."""
    hub.lie("cdn", pause_after(70_000))
    pids = [puller.start(TINY) for _ in range(8)]
    assert hub.sent.wait(20)
    wait_for(lambda: len(hub.asked("api")) == 8)
    hub.release.set()
    assert [puller.wait(pid) for pid in pids] == [0] * 8
    assert models.find(TINY).path.read_bytes() == data(hub)
    assert [each.headers.get("range") for each in hub.asked("cdn")] == [None, "bytes=70000-"], "fetched once"
    assert len(list((cache / "models--owner--tiny-GGUF" / "blobs").iterdir())) == 1


def test_eight_threads_make_one_file(hub: LyingHub) -> None:
    found: list[object] = []
    threads = [threading.Thread(target=lambda: found.append(models.pull(TINY).path)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert len(set(found)) == 1 and len(found) == 8 and len(hub.asked("cdn")) == 1


def test_one_killed_among_many_leaves_the_rest_working(hub: LyingHub, puller: Puller) -> None:
    hub.lie("cdn", pause_after(70_000))
    first = puller.start(TINY)
    assert hub.sent.wait(20)
    others = [puller.start(TINY) for _ in range(3)]
    wait_for(lambda: len(hub.asked("api")) == 4)
    os.kill(first, signal.SIGKILL)
    assert puller.wait(first) == -signal.SIGKILL
    assert [puller.wait(pid) for pid in others] == [0, 0, 0]
    assert [each.headers.get("range") for each in hub.asked("cdn")] == [None, "bytes=70000-"]


@pytest.mark.parametrize("where", ["api", "resolve", "cdn", "cdn's body", "the line for the lock"])
def test_cancel_ends_every_wait(hub: LyingHub, cache: Path, where: str) -> None:
    """The limits are the real ones, 20 seconds: only the cancel can end this."""
    stop = threading.Event()
    ended: list[BaseException] = []

    def pull() -> None:
        try:
            models.pull(TINY, cancel=stop.is_set)
        except Cancelled as error:
            ended.append(error)

    pulls = [threading.Thread(target=pull) for _ in range(2 if "line" in where else 1)]
    if where in ("api", "resolve", "cdn"):
        hub.lie(where, never_answer)
    else:
        hub.lie("cdn", pause_after(70_000))
    for thread in pulls:
        thread.start()
    assert hub.sent.wait(20)
    if "line" in where:
        wait_for(lambda: len(hub.asked("api")) == 2)
    if where == "cdn's body":
        wait_for(lambda: there(cache) == 70_000)
    stop.set()
    for thread in pulls:
        thread.join(10)
    assert len(ended) == len(pulls)
    hub.release.set()
    with pytest.raises(ModelNotFound):
        models.find(TINY)
    hub.seen.clear()
    assert models.pull(TINY).path.read_bytes() == data(hub)
    if where == "cdn's body":
        assert "range" in hub.asked("cdn")[0].headers, "what had come was kept"


def test_cancel_ends_a_pause_that_the_hub_asked_for(hub: LyingHub) -> None:
    from lying_hub import status

    hub.lie("api", always=status(429, {"Retry-After": "55"}))
    with pytest.raises(Cancelled):
        models.pull(TINY, cancel=lambda: bool(hub.seen))


def test_ctrl_c_keeps_what_came(hub: LyingHub, puller: Puller, cache: Path) -> None:
    hub.lie("cdn", pause_after(70_000))
    pid = puller.start(TINY)
    assert hub.sent.wait(20)
    wait_for(lambda: there(cache) == 70_000)
    os.kill(pid, signal.SIGINT)
    assert puller.wait(pid) == 130
    hub.release.set()
    hub.seen.clear()
    models.pull(TINY)
    assert [each.headers.get("range") for each in hub.asked("cdn")] == ["bytes=70000-"]


@pytest.mark.parametrize("source", ["hub", "url"])
def test_every_byte_is_synced_before_the_file_is_visible(
    hub: LyingHub, monkeypatch: pytest.MonkeyPatch, source: str
) -> None:
    """What a rename makes visible must survive a power cut, which a killed process cannot show."""
    synced: dict[int, int] = {}  # inode -> size when it was last synced
    renamed: list[str] = []
    fsync, replace = disk.fsync, disk.replace

    def seen_fsync(fd: int) -> None:
        synced[os.fstat(fd).st_ino] = os.fstat(fd).st_size
        fsync(fd)

    def seen_replace(old: Path, new: Path) -> None:
        if not old.is_symlink():
            assert synced.get(old.stat().st_ino) == old.stat().st_size, f"{new.name} was not synced"
            renamed.append(new.name)
        replace(old, new)

    monkeypatch.setattr(disk, "fsync", seen_fsync)
    monkeypatch.setattr(disk, "replace", seen_replace)
    hub.web["x.gguf"] = data(hub)
    model = models.pull(TINY if source == "hub" else f"{hub.endpoint}/web/x.gguf")
    assert model.path.resolve().name in renamed


def test_a_cancelled_request_leaves_no_thread_behind(hub: LyingHub, cache: Path) -> None:
    """Its own read would time out only after 20 seconds."""
    hub.lie("cdn", pause_after(70_000))
    with pytest.raises(Cancelled):
        models.pull(TINY, cancel=lambda: there(cache) == 70_000)
    left = [thread for thread in threading.enumerate() if thread.name == "pocketllama-fetch"]
    for thread in left:
        thread.join(10)
    assert not any(thread.is_alive() for thread in left)
