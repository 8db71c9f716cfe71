"""What the counters come to: rates, the last hour, what is stuck and what is nearly full.

Counters are read every ten seconds, from the first time that somebody asks for what comes of them
(a server with a HTTP door asks at its start). Nothing here is told of a message.
"""
