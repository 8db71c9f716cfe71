"""One process that serves a data directory, or is a node over a Kafka cluster, and its parts."""
