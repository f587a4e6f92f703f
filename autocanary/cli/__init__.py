"""The commands: one small module per command, on typer and rich.

What users type and what they read in a terminal. Commands reach the rest of the program through ``backend``.
Must never be here: decisions about rollouts, HTTP, or an import of ``app`` before a command needs it.
"""
