"""Real events as Kafka-format partitions, and what makes them."""
