"""MQTT as bytes: packets, properties, reason codes. No I/O, no session state."""
