"""The mapping between messages and records, for reading through another door. Pure."""
