"""What may be asked: the bodies of the API, from which its OpenAPI description is made too.

The names and meanings are OpenAI's; what else the engine can do has the names that it has everywhere in pocketllama. An
unknown member is an error: a misspelt option that is silently ignored is worse. Members that ask for nothing (`user`,
`metadata`, …) are taken and ignored.
"""

from __future__ import annotations

import difflib
from typing import Annotated, Any, Literal, TypeVar, Union

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from ..engine.options import MAX_SEED, Sampling
from .answers import HttpError

MAX_CHOICES = 128
MAX_PROMPTS = 128
MAX_INPUTS = 2048
MAX_TOP_LOGPROBS = 20

Token = Annotated[int, Field(ge=0, le=2**31 - 1)]
Bias = Annotated[float, Field(ge=-100, le=100)]


class Body(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, populate_by_name=False)


class StreamOptions(Body):
    include_usage: bool | None = False
    include_obfuscation: bool | None = None  # we never add any


class SamplingBody(Body):
    """What completions and chat have in common."""

    model: str | None = Field(None, max_length=512, description="one of /v1/models; the first of them if absent")
    n: int | None = Field(None, ge=1, le=MAX_CHOICES, description="answers, each with a seed of its own")
    max_tokens: int | None = Field(None, ge=0, le=2**31 - 1)
    temperature: float | None = Field(None, ge=0, le=2)
    top_p: float | None = Field(None, ge=0, le=1)
    stop: str | list[str] | None = None
    seed: int | None = Field(None, ge=-(2**63), le=MAX_SEED)
    logit_bias: dict[str, Bias] | None = Field(None, description="token id → what is added to its logit")
    frequency_penalty: float | None = Field(None, ge=-2, le=2)
    presence_penalty: float | None = Field(None, ge=-2, le=2)
    stream: bool | None = None
    stream_options: StreamOptions | None = None

    top_k: int | None = Field(None, ge=0, le=2**31 - 1)
    min_p: float | None = Field(None, ge=0, le=1)
    typical_p: float | None = Field(None, ge=0, le=1)
    repetition_penalty: float | None = Field(None, ge=0.01, le=100)
    last_n_tokens: int | None = Field(None, ge=-1, le=2**31 - 1)
    xtc_probability: float | None = Field(None, ge=0, le=1)
    xtc_threshold: float | None = Field(None, ge=0, le=1)
    dry_multiplier: float | None = Field(None, ge=0, le=1000)
    dry_base: float | None = Field(None, ge=1, le=100)
    dry_allowed_length: int | None = Field(None, ge=0, le=2**31 - 1)
    mirostat: Literal[0, 2] | None = None
    mirostat_tau: float | None = Field(None, ge=0, le=100)
    mirostat_eta: float | None = Field(None, ge=0, le=10)
    speculate: Literal["auto", "off", "ngram", "draft"] | None = None

    # Taken and ignored.
    user: str | None = None
    metadata: dict[str, Any] | None = None
    store: bool | None = None
    service_tier: str | None = None

    @property
    def include_usage(self) -> bool:
        return bool(self.stream_options and self.stream_options.include_usage)

    def sampling(self, choice: int, defaults: dict[str, Any] | None = None, **fixed: Any) -> Sampling:
        """The options of the `choice`-th answer: `fixed`, what the request says, `defaults`, in this order."""
        values = {name: value for name in _SAMPLING if (value := getattr(self, name, None)) is not None}
        if values.get("seed", -1) >= 0:
            values["seed"] = (values["seed"] + choice) & MAX_SEED
        else:
            values.pop("seed", None)
        if "last_n_tokens" not in values and (self.frequency_penalty or self.presence_penalty):
            values["last_n_tokens"] = -1  # OpenAI's penalties look at the whole text
        return Sampling.of(**{**(defaults or {}), **values, **fixed})


_SAMPLING = (
    "max_tokens temperature top_p stop seed logit_bias frequency_penalty presence_penalty top_k min_p typical_p "
    "repetition_penalty last_n_tokens xtc_probability xtc_threshold dry_multiplier dry_base dry_allowed_length "
    "mirostat mirostat_tau mirostat_eta speculate"
).split()


class CompletionBody(SamplingBody):
    prompt: str | list[str] | list[Token] | list[list[Token]]
    echo: bool | None = None
    logprobs: int | None = Field(None, ge=0, le=MAX_TOP_LOGPROBS)
    # What asks for nothing may be said.
    best_of: int | None = Field(None, ge=1, le=MAX_CHOICES, description="must be n")
    suffix: Literal[""] | None = None

    def prompts(self) -> list[str | list[int]]:
        """Each prompt by itself. HttpError for none, and for too many."""
        prompts: Any = self.prompt
        if isinstance(prompts, str) or (prompts and isinstance(prompts[0], int)):
            prompts = [prompts]
        if not 0 < len(prompts) <= MAX_PROMPTS:
            raise invalid("prompt", f"prompt holds {len(prompts)} prompts; there may be from 1 to {MAX_PROMPTS}.")
        checked: list[str | list[int]] = prompts
        return checked


class TextPart(Body):
    type: Literal["text"]
    text: str


class FunctionCall(Body):
    name: str
    arguments: str


class ToolCall(Body):
    id: str | None = None
    type: Literal["function"] = "function"
    function: FunctionCall
    index: int | None = None


class Message(Body):
    model_config = ConfigDict(extra="allow", strict=True)  # a template may look at other members: reasoning_content, …

    role: Literal["system", "developer", "user", "assistant", "tool"]
    content: str | list[TextPart] | None = None
    name: str | None = None
    tool_calls: list[ToolCall] | None = None
    tool_call_id: str | None = None
    refusal: str | None = None


class JsonSchema(Body):
    name: str = "answer"
    description: str | None = None
    schema_: dict[str, Any] = Field({"type": "object"}, alias="schema")
    strict: bool | None = None  # we always are


class ResponseFormat(Body):
    type: Literal["text", "json_object", "json_schema"]
    json_schema: JsonSchema | None = None


class Function(Body):
    name: str = Field(pattern=r"^[A-Za-z0-9_.-]{1,64}$")
    description: str | None = None
    parameters: dict[str, Any] | None = None
    strict: bool | None = None


class Tool(Body):
    type: Literal["function"]
    function: Function


class FunctionName(Body):
    name: str


class NamedTool(Body):
    type: Literal["function"] = "function"
    function: FunctionName


class ChatBody(SamplingBody):
    messages: list[Message] = Field(min_length=1, max_length=4096)
    max_completion_tokens: int | None = Field(None, ge=0, le=2**31 - 1)
    response_format: ResponseFormat | None = None
    tools: list[Tool] | None = Field(None, max_length=128)
    tool_choice: Literal["none", "auto", "required"] | NamedTool | None = None
    parallel_tool_calls: bool | None = None
    chat_template_kwargs: dict[str, Any] | None = Field(None, description="variables of the model's template")
    logprobs: bool | None = None
    top_logprobs: int | None = Field(None, ge=0, le=MAX_TOP_LOGPROBS)
    modalities: list[Literal["text"]] | None = None
    reasoning_effort: str | None = None
    verbosity: str | None = None
    prediction: None = None
    safety_identifier: str | None = None
    prompt_cache_key: str | None = None


class EmbeddingBody(Body):
    model: str | None = Field(None, max_length=512)
    input: str | list[str] | list[Token] | list[list[Token]]
    encoding_format: Literal["float", "base64"] | None = None
    dimensions: int | None = Field(None, ge=1, le=2**31 - 1, description="must be the model's own")
    pooling: Literal["last", "mean"] | None = None
    normalize: bool | None = None
    user: str | None = None

    def inputs(self) -> list[str | list[int]]:
        inputs: Any = self.input
        if isinstance(inputs, str) or (inputs and isinstance(inputs[0], int)):
            inputs = [inputs]
        if not 0 < len(inputs) <= MAX_INPUTS:
            raise invalid("input", f"input holds {len(inputs)} texts; there may be from 1 to {MAX_INPUTS}.")
        checked: list[str | list[int]] = inputs
        return checked


T = TypeVar("T", bound=Body)


def read(kind: type[T], body: dict[str, Any]) -> T:
    """`body` as a request of this kind. HttpError 400 names the first member that is wrong."""
    try:
        return kind.model_validate(body)
    except ValidationError as e:
        found = e.errors(include_url=False, include_context=False, include_input=False)
        # Of a union every branch complains: the deepest one is the one that was meant.
        first = max(found, key=lambda error: len(error["loc"]))
        path = ".".join(str(part) for part in first["loc"])[:200]
        if first["type"] == "missing":
            raise invalid(path, f"{path} is missing.") from None
        if first["type"] == "extra_forbidden":
            near = difflib.get_close_matches(path, kind.model_fields, n=1)
            remedy = f"Did you mean {near[0]}?" if near else "/openapi.json lists what a request may have."
            raise invalid(path, f"There is no member {path}.", remedy) from None
        raise invalid(path, f"{path}: {first['msg']}.") from None


def invalid(param: str, message: str, remedy: str | None = None) -> HttpError:
    return HttpError(400, "invalid_value", message, param=param[:200], remedy=remedy)


__all__ = ["ChatBody", "CompletionBody", "EmbeddingBody", "Union", "invalid", "read"]
