"""How fast a model runs here, and how much of what the machine could do that is. What `pocketllama bench` prints.

plan(…)               the tests that are asked for
measure(model, …)     runs them: plain values, as --json prints them
report.render(…), plot.draw(…)
"""

from .measure import measure
from .plan import Case, plan

__all__ = ["Case", "measure", "plan"]
