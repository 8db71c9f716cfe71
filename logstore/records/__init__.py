"""Record batch v2, Kafka's format: bytes to records and back. No I/O, no clock."""
