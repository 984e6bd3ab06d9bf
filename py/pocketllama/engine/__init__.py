"""A model file in, text and tokens out. See `llm.LLM`."""

from .llm import LLM
from .options import Completion, Sampling

__all__ = ["LLM", "Completion", "Sampling"]
