"""Pickles that run something. `{sentinel}` in the argument is a file that comes into being if they do.

LIVE ones do their work under Python's own pickle, which a test shows, so that refusing them means something. OTHERS
would need torch or another library, or use pickle's stranger instructions.
"""

from __future__ import annotations

from torchfiles import number, tensor, text


def call(name: str, *args: bytes) -> bytes:
    """A pickle that calls module.name with arguments that are pickled already."""
    module, _, attribute = name.rpartition(".")
    return f"c{module}\n{attribute}\n".encode() + b"(" + b"".join(args) + b"tR"


def gadgets(sentinel: str) -> tuple[dict[str, bytes], dict[str, bytes]]:
    """(LIVE, OTHERS): name of what is asked for → the pickle."""
    shell = text(f"touch '{sentinel}'")
    code = text(f"open({sentinel!r}, 'w').close()")
    path = text(sentinel)
    w = text("w")
    opened = b"cbuiltins\nopen\n(" + path + w + b"t"
    live = {
        "os.system": call("os.system", shell),
        "posix.system": call("posix.system", shell),
        "os.popen": call("os.popen", shell),
        "os.mkdir": call("os.mkdir", path),
        "subprocess.call": call("subprocess.call", b"(" + text("touch") + path + b"l"),
        "subprocess.getoutput": call("subprocess.getoutput", shell),
        "builtins.eval": call("builtins.eval", code),
        "builtins.exec": call("builtins.exec", code),
        "builtins.open": opened + b"R",
        "__builtin__.eval": call("__builtin__.eval", code),
        "io.open": call("io.open", path, w),
        "os.open": call("os.open", path, number(0o101)),
        "timeit.timeit": call("timeit.timeit", code, text("pass"), b"ctime\nperf_counter\n", number(1)),
        "runpy.run_path": call("pathlib.Path.touch", call("pathlib.Path", path)).replace(
            b"cpathlib.Path\ntouch\n", b"\x80\x04\x8c\x07pathlib\x8c\x0aPath.touch\x93"
        ),
        "functools.partial": b"cfunctools\npartial\n(cos\nsystem\n" + shell + b"tR)R",
        "operator.methodcaller": b"coperator\nmethodcaller\n("
        + text("touch")
        + b"tR("
        + call("pathlib.Path", path)
        + b"tR",
        "builtins.getattr": b"cbuiltins\ngetattr\n(" + call("pathlib.Path", path) + text("touch") + b"tR)R",
        "builtins.map": call("builtins.list", b"cbuiltins\nmap\n(cos\nsystem\n(" + shell + b"ltR"),
        "INST": b"(" + shell + b"ios\nsystem\n",
        "OBJ": b"(cos\nsystem\n" + shell + b"o",
        "NEWOBJ": b"cio\nFileIO\n(" + path + w + b"t\x81" + b"0cio\nFileIO\n(" + path + w + b"tR",
        "STACK_GLOBAL": b"\x80\x04\x8c\x02os\x8c\x06system\x93(" + shell + b"tR",
        "in a value of the table": b"}(" + text("w") + call("os.system", shell) + b"u",
        "in a key": b"}(" + call("os.system", shell) + b"Nu",
        "popped": call("os.system", shell) + b"0}",
        "through the memo": b"cos\nsystem\nq\x000" + b"h\x00(" + shell + b"tR",
        "as arguments of OrderedDict": b"ccollections\nOrderedDict\n(cbuiltins\nmap\n(cos\nsystem\n("
        + shell
        + b"ltRtR",
    }
    storage = b"(" + text("storage") + b"cos\nsystem\n" + text("0") + text("cpu") + number(8) + b"tQ"
    others = {
        "torch.load": call("torch.load", path),
        "torch.storage._load_from_bytes": call("torch.storage._load_from_bytes", path),
        "torch.hub.load": call("torch.hub.load", path),
        "torch.jit.load": call("torch.jit.load", path),
        "torch._utils._rebuild_wrapper_subclass": call("torch._utils._rebuild_wrapper_subclass", path),
        "torch.serialization.os.system": call("torch.serialization.os.system", shell),
        "numpy.load": call("numpy.load", path),
        "collections.OrderedDict.__init__": b"\x80\x04\x8c\x0bcollections\x8c\x14OrderedDict.__init__\x93)R",
        "a storage class": storage,
        "a storage called": b"ctorch\nHalfStorage\n(" + number(8) + b"tR",
        "a tensor called": tensor("0", (8,), 8) + b"(" + shell + b"tR",
        "a string called": text("os.system") + b"(" + shell + b"tR",
        "BUILD on a tensor": tensor("0", (8,), 8) + b"}" + text("__class__") + b"Nsb",
        "BUILD on a table": b"}}" + text("__reduce__") + b"Nsb",
        "EXT1": b"\x82\x01)R",
        "EXT2": b"\x83\x01\x00)R",
        "EXT4": b"\x84\x01\x00\x00\x00)R",
        "PERSID": b"P" + b"('storage', os.system)\n",
        "NEWOBJ_EX": b"ccollections\nOrderedDict\n)}\x92",
        "LONG4": b"\x8b\xff\xff\xff\x7f",
    }
    return live, others
