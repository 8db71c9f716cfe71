"""The forms of replies: complete, in parts, or as events."""
