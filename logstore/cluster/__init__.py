"""The waist over a Kafka cluster: a client of its brokers, and logs stored on them."""
