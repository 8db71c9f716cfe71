"""Messages as records, and records as messages: what is read through another door. Pure."""
