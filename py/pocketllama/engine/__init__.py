"""A model file in, text and tokens out. See `llm.LLM`."""

from .cancel import Cancel
from .llm import LLM
from .options import Completion, Sampling

__all__ = ["LLM", "Cancel", "Completion", "Sampling"]
