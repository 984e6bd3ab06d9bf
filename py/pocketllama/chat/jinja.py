"""Chat templates in Jinja, as Hugging Face's `apply_chat_template` runs them, with a record of who wrote what.

The dialect is theirs: blocks trimmed, loop controls, `{% generation %}`, `tojson` without HTML's escapes,
`raise_exception` and `strftime_now`. Templates from model files are run by `sandbox`, in a process of their own; this
module is what runs there.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from functools import lru_cache
from typing import Any

import jinja2
from jinja2 import nodes
from jinja2.compiler import CodeGenerator, Frame
from jinja2.ext import Extension, loopcontrols
from jinja2.parser import Parser
from jinja2.sandbox import ImmutableSandboxedEnvironment

from .marked import Marked, Spans, cat

# The roles that conversations have. Templates build control tokens of them ('<|' + role + '|>'), so these words, and no
# others, count as the template's own.
ROLES = frozenset(
    "system developer user assistant model tool function ipython environment observation tool_response".split()
)


class Refused(Exception):
    """The template called `raise_exception`: it does not take such a conversation."""


class _Generator(CodeGenerator):
    """Writes every literal of the template as a marked string."""

    def _output_const_repr(self, group: Iterable[Any]) -> str:
        return f"environment.own({''.join(group)!r})"

    def visit_Const(self, node: nodes.Const, frame: Frame) -> None:
        if isinstance(value := node.as_const(frame.eval_ctx), str):
            self.write(f"environment.own({value!r})")
        else:
            super().visit_Const(node, frame)

    def visit_TemplateData(self, node: nodes.TemplateData, frame: Frame) -> None:
        self.write(f"environment.own({node.data!r})")

    def visit_Concat(self, node: nodes.Concat, frame: Frame) -> None:
        self.write("environment.concat(map(str, (")
        for arg in node.nodes:
            self.visit(arg, frame)
            self.write(", ")
        self.write(")))")


class _Generation(Extension):
    """`{% generation %}…{% endgeneration %}` marks an assistant's words for training; here they are only rendered."""

    tags = {"generation"}  # noqa: RUF012  # as Jinja has it

    def parse(self, parser: Parser) -> nodes.Node:
        line = next(parser.stream).lineno
        body = parser.parse_statements(("name:endgeneration",), drop_needle=True)
        return nodes.Scope(body, lineno=line)


class Environment(ImmutableSandboxedEnvironment):
    """The sandbox that templates run in."""

    code_generator_class = _Generator
    concat = staticmethod(cat)

    def __init__(self) -> None:
        super().__init__(trim_blocks=True, lstrip_blocks=True, extensions=[_Generation, loopcontrols])
        self.own = lru_cache(maxsize=4096)(Marked.own)
        self.filters.update(tojson=_tojson, join=_join)
        self.globals.update(raise_exception=_raise, strftime_now=_now)


def _tojson(
    value: Any,
    ensure_ascii: bool = False,
    indent: int | None = None,
    separators: tuple[str, str] | None = None,
    sort_keys: bool = False,
) -> str:
    return json.dumps(value, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)


@jinja2.pass_environment
def _join(env: Environment, value: Iterable[Any], d: str = "", attribute: str | int | None = None) -> str:
    if attribute is not None:
        get: Callable[[Any], Any] = jinja2.filters.make_attrgetter(env, attribute)
        value = map(get, value)
    return Marked(d, d.spans if isinstance(d, Marked) else ()).join(map(str, value))


def _raise(message: object) -> None:
    raise Refused(str(message))


def _now(format: str) -> str:
    return datetime.now().strftime(format)


@lru_cache(maxsize=16)
def _compiled(source: str) -> jinja2.Template:
    return Environment().from_string(source)


def check(source: str) -> None:
    """jinja2.TemplateSyntaxError if `source` is no template."""
    _compiled(source)


class Arguments(dict[str, Any]):
    """A call's arguments, for templates that look into them and for those that take them for text, as OpenAI's API
    has them: where a text is wanted, it is `text`."""

    def __init__(self, values: Mapping[str, Any], text: str) -> None:
        super().__init__(values)
        self._text = text

    def __str__(self) -> str:
        return self._text

    def __add__(self, other: str) -> str:
        return self._text + other

    def __radd__(self, other: str) -> str:
        return other + self._text


def render(source: str, variables: Mapping[str, Any], own: Mapping[str, str]) -> tuple[str, Spans]:
    """The text, and the parts of it that the template wrote. `own` are further variables, whose values count as the
    template's: the names of its control tokens.

    A template that fails on the messages as they are gets them in the other forms that there are: arguments of calls
    as text, contents as lists of parts. Refused and jinja2's errors, and whatever Python raises in it.
    """
    template = _compiled(source)
    given = {**variables, **{name: Marked.own(value) for name, value in own.items()}}
    messages = given.get("messages", ())
    failure: Exception | None = None
    for form in (_message, _with_text_arguments, _with_parts):
        try:
            text = cat((template.render({**given, "messages": [form(message) for message in messages]}),))
            return str.__getitem__(text, slice(None)), text.spans
        except (TypeError, jinja2.UndefinedError) as e:
            failure = failure or e
    assert failure
    raise failure


def _message(message: Mapping[str, Any]) -> dict[str, Any]:
    made = dict(message)
    if made.get("role") in ROLES:
        made["role"] = Marked.own(made["role"])
    if made.get("tool_calls"):
        made["tool_calls"] = [_call(call) for call in made["tool_calls"]]
    return made


def _call(call: Mapping[str, Any], change: Callable[[Any], Any] | None = None) -> dict[str, Any]:
    """A call, its arguments changed; by default JSON text becomes the object that it stands for."""
    if isinstance(call.get("function"), dict):
        return {**call, "function": _call(call["function"], change)}
    if "arguments" not in call:
        return dict(call)
    return {**call, "arguments": (change or _opened)(call["arguments"])}


def _opened(arguments: Any) -> Any:
    if not isinstance(arguments, str):
        return arguments
    try:
        values = json.loads(arguments)
    except ValueError:
        return arguments  # the model wrote something else; a template may show it as it is
    return Arguments(values, arguments) if isinstance(values, dict) else arguments


def _with_text_arguments(message: Mapping[str, Any]) -> dict[str, Any]:
    made = _message(message)
    if made.get("tool_calls"):
        made["tool_calls"] = [
            _call(c, lambda a: Arguments(a, _tojson(a)) if type(a) is dict else _opened(a))
            for c in message["tool_calls"]
        ]
    return made


def _with_parts(message: Mapping[str, Any]) -> dict[str, Any]:
    made = _with_text_arguments(message)
    if isinstance(made.get("content"), str):
        made["content"] = [{"type": "text", "text": made["content"]}]
    return made
