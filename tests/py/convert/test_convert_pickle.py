from __future__ import annotations

import os
import pickle
import random
import subprocess
import sys
import tracemalloc
from pathlib import Path
from typing import Any

import pytest
from gadgets import gadgets
from torchfiles import number, table, tensor, text, with_pickle

from pocketllama.convert.pth import TorchFile
from pocketllama.convert.unpickle import StorageRef, TensorRef, unpickle
from pocketllama.errors import ModelInvalid, UnsafeFile

LIVE, OTHERS = gadgets("/nonexistent")


def start(body: bytes) -> bytes:
    return body if body.startswith(b"\x80") else b"\x80\x02" + body


def test_there_are_enough_gadgets() -> None:
    assert len(LIVE) + len(OTHERS) >= 30


@pytest.mark.parametrize("name", [*LIVE, *OTHERS])
def test_a_gadget_is_refused_and_not_run(name: str, tmp_path: Path) -> None:
    sentinel = tmp_path / "ran"
    live, others = gadgets(str(sentinel))
    path = with_pickle(tmp_path / "consolidated.00.pth", start((live | others)[name]) + b".")
    modules = set(sys.modules)
    with pytest.raises(UnsafeFile) as caught:
        TorchFile(path)
    assert not sentinel.exists()
    assert not {m for m in set(sys.modules) - modules if m in ("torch", "pty", "webbrowser")}
    assert "consolidated.00.pth is refused" in str(caught.value)
    assert caught.value.remedy
    if name in ("os.system", "builtins.eval", "torch.load", "numpy.load", "torch.storage._load_from_bytes"):
        assert name in str(caught.value), "the refusal names what was asked for"


@pytest.mark.skipif(sys.platform == "win32", reason="the gadgets speak POSIX")
def test_the_live_gadgets_do_run_under_pickle(tmp_path: Path) -> None:
    """Else refusing them would show nothing. In a process of its own, one file a gadget."""
    for i, name in enumerate(LIVE):
        (tmp_path / f"{i}.pkl").write_bytes(start(gadgets(str(tmp_path / f"{i}.ran"))[0][name]) + b".")
    program = (
        "import pickle, sys, pathlib, time\n"
        "for p in pathlib.Path(sys.argv[1]).glob('*.pkl'):\n"
        "    try:\n"
        "        x = pickle.loads(p.read_bytes())\n"
        "        if hasattr(x, 'read'): x.read()\n"  # waits for popen's child
        "    except Exception: pass\n"
    )
    subprocess.run([sys.executable, "-W", "ignore", "-c", program, str(tmp_path)], check=True, stdin=subprocess.DEVNULL)
    idle = [name for i, name in enumerate(LIVE) if not (tmp_path / f"{i}.ran").exists()]
    assert idle == []


def test_reads_what_torch_writes() -> None:
    data = table({"a": tensor("0", (2, 3), 6), "b": tensor("1", (4,), 8, "FloatStorage", offset=2)})
    assert unpickle(data, "f") == {
        "a": TensorRef(StorageRef("f16", "0", 6), 0, (2, 3), (3, 1)),
        "b": TensorRef(StorageRef("f32", "1", 8), 2, (4,), (1,)),
    }


def test_reads_an_ordered_dict_with_metadata_and_parameters() -> None:
    """model.state_dict(), with parameters and torch's `_metadata` on the OrderedDict."""
    parameter = b"ctorch._utils\n_rebuild_parameter\n(" + tensor("0", (8,), 8) + b"\x88ccollections\nOrderedDict\n)RtR"
    ordered = b"ccollections\nOrderedDict\n)R"
    metadata = b"}" + text("_metadata") + ordered + text("") + b"}" + text("version") + b"K\x01sss"
    data = b"\x80\x02" + ordered + b"(" + text("w") + parameter + b"u" + metadata + b"b."
    assert unpickle(data, "f") == {"w": TensorRef(StorageRef("f16", "0", 8), 0, (8,), (1,))}


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_reads_plain_data_of_every_protocol(protocol: int) -> None:
    value: Any = {"a": [1, 256, 70000, -1, 2**40, 0.5, True, False, None], "é": ("x", (), ("y",), ("z", 1, 2, 3), [])}
    assert unpickle(pickle.dumps(value, protocol), "f") == value


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b".",
        b"NN.",
        b"(.",
        b"N",
        b"0.",
        b"t.",
        b"(0.",
        b"R.",
        b"s.",
        b"u.",
        b"}(NNu.",
        b"}(K\x01Nu.",
        b"}(" + text("k") + b"u.",
        b"](u.",
        b"}(Ke.",
        b"e.",
        b"h\x05.",
        b"j\xff\xff\xff\xff.",
        b"q\x00.",
        b"Q.",
        b"NQ.",
        b"cos",
        b"c" + b"x" * 2000 + b"\ny\n.",
        b"c\xff\n\xff\n.",
        b"K",
        b"M\x00",
        b"J\0\0",
        b"G\0\0",
        b"\x8a\xff\x01.",
        b"X\xff\xff\xff\xff.",
        b"X\x01\x00\x00\x00\xff.",
        b"\x8c\x05abc.",
        b"\x85.",
        b"N\x86.",
        b"\x93.",
        b"NN\x93.",
        b"X" + (1 << 17).to_bytes(4, "little") + b"a" * (1 << 17) + b".",
        tensor("0", (2,), -1) + b".",
        tensor("0", (-2,), 8) + b".",
        tensor("0", (2**62,), 8) + b".",
        tensor("0", (2,), 8, offset=-1) + b".",
        tensor("0", (2,), 8, stride=(-1,)) + b".",
        tensor("0", (2, 2), 8, stride=(1,)) + b".",
        tensor("0", (1,) * 9, 8) + b".",
        tensor("0", (2,), 8).replace(b"X\x07\x00\x00\x00storage", b"X\x07\x00\x00\x00storehs") + b".",
        b"ctorch._utils\n_rebuild_tensor_v2\n)R.",
        b"ctorch._utils\n_rebuild_tensor_v2\n(NNNNtR.",
        b"ctorch._utils\n_rebuild_parameter\n(NNNtR.",
        b"ctorch._utils\n_rebuild_parameter\n)R.",
    ],
)
def test_a_damaged_pickle(body: bytes) -> None:
    with pytest.raises(ModelInvalid, match=r"f is damaged: its pickle cannot be followed at byte \d+"):
        unpickle(b"\x80\x02" + body, "f")


def test_a_name_set_twice_is_refused() -> None:
    with pytest.raises(UnsafeFile, match="'w' twice"):
        unpickle(b"\x80\x02}(" + text("w") + b"N" + text("w") + b"Nu.", "f")


def test_every_cut_and_flip_is_refused_or_read() -> None:
    good = table({"a": tensor("0", (2, 4), 8), "b": tensor("0", (8,), 8)})
    for n in range(len(good)):
        with pytest.raises(ModelInvalid):
            unpickle(good[:n], "f")
    rng = random.Random(5)
    refused = 0
    for _ in range(5000):
        data = bytearray(good)
        for _ in range(rng.choice((1, 2, 5))):
            data[rng.randrange(len(data))] = rng.randrange(256)
        try:
            unpickle(bytes(data), "f")
        except (ModelInvalid, UnsafeFile):
            refused += 1
    assert 2500 < refused < 5000


@pytest.mark.parametrize(
    "body",
    [
        # Tuples of the same tuple twice, 10,000 levels: 2^10000 leaves if anyone walked them.
        b"N" + b"q\x00h\x00\x86" * 10_000 + b"q\x010}(" + text("w") + b"h\x01u.",
        b"](" * 50_000 + b"e" * 50_000 + b".",  # lists in lists
        b"N" + b"\x85" * 300_000 + b".",  # tuples in tuples
        b"(" * 300_000 + b".",
        b"N" + b"r\xff\xff\xff\xff" * 100_000 + b".",  # a memo of 2^32 places in pickle's own machine
        b"\x8a\xff" + b"\x7f" * 255 + b".",
    ],
    ids=["laughs", "lists", "tuples", "marks", "memo", "long"],
)
def test_a_bomb_costs_no_more_than_its_size(body: bytes, tmp_path: Path) -> None:
    path = with_pickle(tmp_path / "bomb.pth", b"\x80\x02" + body)
    tracemalloc.start()
    with pytest.raises(ModelInvalid) as e:
        TorchFile(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 200 * len(body) + (1 << 20)
    assert len(str(e.value)) < 300


def test_a_pickle_is_bounded(tmp_path: Path) -> None:
    path = with_pickle(tmp_path / "bomb.pth", b"\x80\x02" + b"N0" * (3 << 20) + b"}.")
    with pytest.raises(ModelInvalid, match="at most 4194304"):
        TorchFile(path)


def test_pickle_itself_is_never_imported() -> None:
    env = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    program = "import sys, pocketllama.convert.unpickle, pocketllama.convert.archive; print('pickle' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], env=env, check=True, capture_output=True, text=True)
    assert done.stdout.strip() == "False"


def test_large_numbers_are_numbers() -> None:
    assert unpickle(b"\x80\x02" + number(2**70) + b".", "f") == 2**70
