"""A GGUF file into a smaller one: `pocketllama quantize`.

    mixes        what each name (Q4_K_M, …) makes of which tensor
    plan         the type of every tensor of a file, and why it is not the one that was asked for
    job          streams the tensors through the engine's library into the new file
    importance   files that say how much each column of a matrix counts (made by `pocketllama imatrix`)

The numbers are worked on by our own library alone (native/src/quant); no NumPy is needed.
"""

from .job import Progress, Result, estimate, quantize
from .mixes import MIXES, Mix, find_mix
from .plan import Choice, Rule, parse_rule
from .plan import plan as choices_for

__all__ = [
    "MIXES",
    "Choice",
    "Mix",
    "Progress",
    "Result",
    "Rule",
    "choices_for",
    "estimate",
    "find_mix",
    "parse_rule",
    "quantize",
]
