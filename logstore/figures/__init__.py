"""Rates and histories of counters: the last hour, what is stuck, and what is nearly full.

Counters are read every ten seconds, from the first request for rates on (a server with an HTTP door
requests them at its start). No single message is seen here.
"""
