"""MQTT as it travels: packets, properties, reason codes. No I/O, no state of a session."""
