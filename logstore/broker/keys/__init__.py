"""Keys and their values, as Redis has them: in memory, and in a topic a database."""
