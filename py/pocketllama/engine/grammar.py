"""Languages that a text is kept in: JSON of a schema, and grammars in general, as masks of tokens by llguidance.

    grammar = Grammars(llm).json_schema({"type": "object", …})
    llm.complete(prompt, choices=Choices(grammar.constraint()))

What is generated then is of that language whatever the model's weights say, unless it is cut off by max_tokens.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from ..errors import EngineError, UsageError
from .own import Own

if TYPE_CHECKING:
    from .llm import LLM

# JSON as models write it on one line. Free white space would let a small model write nothing else for ever.
JSON_STYLE: dict[str, Any] = {"whitespace_flexible": False, "item_separator": ", ", "key_separator": ": "}
_SENTINEL = "\x01"  # a character that no tokenizer joins to what follows


class Grammars:
    """Those of one model. Safe from several threads, also beside its evaluations; what is made is kept in no cache."""

    def __init__(self, llm: LLM) -> None:
        self._llm = llm
        self._lock = threading.Lock()
        self._tokenizer: Any = None

    def json_schema(self, schema: Mapping[str, Any]) -> Grammar:
        """JSON that the schema describes. UsageError for a schema that is wrong, too large, or says what cannot be
        kept to."""
        if not isinstance(schema, Mapping):
            raise UsageError(f"A JSON schema must be an object, not {schema!r:.80}.")
        try:
            text = _llguidance().LLMatcher.grammar_from_json_schema(json.dumps(schema), overrides=JSON_STYLE)
        except ValueError as e:
            raise UsageError(f"This schema is none: {_first_line(str(e))}") from e
        return self.compile(text)

    def json_object(self) -> Grammar:
        """Any JSON object."""
        return self.json_schema({"type": "object"})

    def lark(self, text: str) -> Grammar:
        """A grammar in llguidance's dialect of Lark."""
        return self.compile(_llguidance().LLMatcher.grammar_from_lark(text))

    def compile(self, grammar: str) -> Grammar:
        """From llguidance's own form. Takes milliseconds; of the first grammar of a model, up to a second or two."""
        module = _llguidance()
        limits = module.LLParserLimits(verbose_errors=False)
        matcher = module.LLMatcher(self._vocabulary(), grammar, log_level=0, limits=limits)
        if matcher.is_error():
            raise UsageError(f"This schema or grammar cannot be kept to: {_first_line(matcher.get_error())}")
        return Grammar(matcher)

    def _vocabulary(self) -> Any:
        with self._lock:
            if self._tokenizer is None:
                module, source = _llguidance(), _Vocabulary(self._llm)
                self._tokenizer = module.LLTokenizer(
                    module.TokenizerWrapper(source), n_vocab=len(source.tokens), eos_token=source.ends
                )
            return self._tokenizer


class Grammar:
    """A compiled language; any number of texts may be kept in it."""

    def __init__(self, matcher: Any) -> None:
        self._matcher = matcher

    def constraint(self) -> Walk:
        """For one text."""
        return Walk(self._matcher.deep_copy())


class Walk:
    """Where one text is in its language. See `choices.Constraint`."""

    def __init__(self, matcher: Any) -> None:
        self._matcher = matcher

    @property
    def done(self) -> bool:
        return bool(self._matcher.is_stopped())

    def mask(self) -> bytes:
        mask: bytes = self._matcher.compute_bitmask()
        self._check()
        return mask

    def accept(self, token: int) -> None:
        self._matcher.consume_token(token)
        self._check()

    def _check(self) -> None:
        if self._matcher.is_error():
            raise UsageError(f"The text could not be kept in its grammar: {_first_line(self._matcher.get_error())}")


class _Vocabulary:
    """The model's tokens in the form that llguidance asks for. The tokenizer of our library never changes, so that this
    needs no turn on the engine."""

    def __init__(self, llm: LLM) -> None:
        backend = llm._backend
        if not isinstance(backend, Own):
            raise UsageError("ctransformers' library cannot constrain a text.", remedy="pocketllama build")
        self._backend = backend
        names = {token: name.encode() for name, token in llm.file.chat.specials.items()}
        self.tokens = [names.get(t) or backend.piece(t) for t in range(backend.vocab_size)]
        self.special_token_ids = sorted({*names, *backend.vocab.ends, *(t for t, p in enumerate(self.tokens) if not p)})
        self.ends = sorted(backend.vocab.ends)
        if not self.ends:
            raise UsageError("This model has no token that ends a text, and its texts cannot be constrained.")
        self.eos_token_id, self.bos_token_id = self.ends[0], backend.vocab.bos
        self._before = backend.tokenize(_SENTINEL.encode(), False, False)

    def __call__(self, text: bytes | str) -> list[int]:
        """The tokens of text inside a text: without the space that a tokenizer puts before its beginning."""
        raw = text.encode() if isinstance(text, str) else text
        return self._backend.tokenize(_SENTINEL.encode() + raw, False, False)[len(self._before) :]


def _llguidance() -> Any:
    try:
        import llguidance
    except ModuleNotFoundError as e:
        raise EngineError(
            "Keeping a text in a schema needs the package llguidance, which is not installed.",
            remedy='It comes with the extra "serve": pip install "pocketllama[serve]", or with npx: '
            "npx pocketllama setup --with serve",
        ) from e
    return llguidance


def _first_line(words: str) -> str:
    return words.strip().partition("\n")[0][:300] or "no reason was given."
