"""A pytest plugin: a real server for tests of programs that use one. See docs/testing.md.

``plugin.py`` is imported in every run of pytest where logstore is installed, and so imports
nothing; the server is a process of its own, and nothing of it is imported here.
"""
