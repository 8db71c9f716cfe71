"""Counters, raised once for each read, batch or run, never once for each message.

A counter is a plain number: code that counts adds to it, and other code reads it. Counters only
rise, except those that Redis's ``CONFIG RESETSTAT`` resets. ``figures`` makes rates and histories
of them.
"""
