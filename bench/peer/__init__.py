"""The same small job in the hands of other projects: one row written, in settings that lose nothing in a crash.

Each module is a program: `put N` prints the seconds that enqueueing took, `work` works until it is told to end. What
is tuned, and by which page of the project's own documentation, stands in the module's docstring.
"""
