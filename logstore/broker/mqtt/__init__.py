"""The MQTT model: one space of topics that all doors share. Knows no wire protocol."""
