"""What waits for its time: when it is due, and what is due next."""
