"""Every error that pocketllama raises on purpose, and what each becomes outside Python.

    PocketllamaError                 anything below; catch this one
    ├── UsageError                   an argument is wrong
    │   ├── ContextOverflow          the prompt does not fit the model's context
    │   └── PromptTooLarge           the prompt is longer than the server takes, before any token is counted
    ├── ModelError                   the model file
    │   ├── ModelNotFound            no such model on this machine, or on the hub
    │   └── ModelInvalid             not a model, damaged, or of a kind the engine does not know
    ├── DownloadError                the network or the hub failed; a later try may work
    │   ├── DownloadCorrupt          what came is not what was promised (length, sha256, content)
    │   └── OfflineError             the network was needed and forbidden
    ├── StorageError                 the disk: full, read-only, failing
    ├── EngineError                  the native library is missing or failed
    │   ├── EngineClosed             used after close()
    │   └── OutOfMemory              needs more memory than there is
    ├── RunnerError                  the JSON-RPC process could not be started, or died
    ├── Busy                         the queue is full
    ├── Cancelled                    the caller asked to stop
    ├── ProtocolError                what came is not JSON-RPC as docs/protocol.md has it
    │   ├── ParseError               not JSON
    │   ├── InvalidRequest           JSON, and not a request
    │   ├── MethodNotFound           no method of that name
    │   └── MessageTooLarge          longer than the limit that `initialize` told
    └── UnsafeFile                   a checkpoint that wants to run code or leave its folder

Each class carries its JSON-RPC code and its exit code; `docs/protocol.md` and `docs/cli.md` list them, and a test
holds the lists and this file together.
"""

from __future__ import annotations

from typing import Any, ClassVar


class PocketllamaError(Exception):
    """A failure with its cause, and where there is one, the remedy.

    `str(error)` is one sentence or two: what happened and why. `remedy` is what to do about it (a command where
    possible), `data` is what a program may want to know (plain JSON values).
    """

    rpc_code: ClassVar[int] = -32000
    exit_code: ClassVar[int] = 1

    def __init__(self, message: str, *, remedy: str | None = None, data: dict[str, Any] | None = None) -> None:
        super().__init__(message)
        self.remedy = remedy
        self.data = data or {}

    def describe(self) -> str:
        """The message and the remedy, as a terminal shows them."""
        return f"{self}\n  {self.remedy}" if self.remedy else str(self)


class UsageError(PocketllamaError):
    rpc_code = -32602
    exit_code = 2


class ContextOverflow(UsageError):
    rpc_code = -32010


class PromptTooLarge(UsageError):
    rpc_code = -32011


class ModelError(PocketllamaError):
    rpc_code = -32020
    exit_code = 3


class ModelNotFound(ModelError):
    rpc_code = -32021


class ModelInvalid(ModelError):
    rpc_code = -32022


class DownloadError(PocketllamaError):
    rpc_code = -32030
    exit_code = 4


class DownloadCorrupt(DownloadError):
    rpc_code = -32031


class OfflineError(DownloadError):
    rpc_code = -32032


class StorageError(PocketllamaError):
    rpc_code = -32040
    exit_code = 5


class EngineError(PocketllamaError):
    rpc_code = -32050
    exit_code = 6


class EngineClosed(EngineError):
    rpc_code = -32051


class OutOfMemory(EngineError):
    rpc_code = -32052


class RunnerError(PocketllamaError):
    rpc_code = -32060
    exit_code = 7


class Busy(PocketllamaError):
    rpc_code = -32070
    exit_code = 8


class Cancelled(PocketllamaError):
    rpc_code = -32800
    exit_code = 130


class UnsafeFile(PocketllamaError):
    rpc_code = -32080
    exit_code = 9


class ProtocolError(PocketllamaError):
    rpc_code = -32600


class ParseError(ProtocolError):
    rpc_code = -32700


class InvalidRequest(ProtocolError):
    rpc_code = -32600


class MethodNotFound(ProtocolError):
    rpc_code = -32601


class MessageTooLarge(ProtocolError):
    rpc_code = -32090
