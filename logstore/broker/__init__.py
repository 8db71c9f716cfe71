"""The models: topics and groups over any Log. Knows no wire and no disk."""
