"""The waist on local disk: segments, indexes, flusher, catalogue. FORMAT.md draws the bytes."""
