"""The models, such as topics and groups, over any Log. Knows no wire protocol and no disk."""
