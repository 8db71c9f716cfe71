"""Redis's keys and values: in memory, and for each database in a topic."""
