"""How fast a model runs here, and how much of what the machine could do that is. What `pocketllama bench` prints.

    plan.plan(…)              the tests that are asked for
    measure.measure(…)        runs them: plain values, as --json prints them
    report.render, plot.draw  show them

Nothing is imported here: another engine's environment may use `plan` and `session` without ours.
"""
