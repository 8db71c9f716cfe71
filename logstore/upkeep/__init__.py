"""Retention, compaction, recompression, backup and salvage of logs. Knows the waist and storage."""
