"""Whether a data directory and its machine are fit for a server, and what to change.

``look.py`` gathers facts and changes nothing; ``checks.py`` judges the facts.
"""
