"""Whether a data directory and the machine that it is on are fit to be served, and what to change.

``look.py`` gathers facts and changes nothing; ``checks.py`` judges them and looks at nothing.
"""
