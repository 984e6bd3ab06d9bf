"""Chatting in a terminal, or through a pipe: `pocketllama chat`.

choose (which model, and offering one), lines (what is typed or piped in), screen (what is shown), talk (the loop and
the answers), commands (what begins with a slash), story (continuing a text, for models that only do that).
"""
