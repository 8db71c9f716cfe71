"""The commands about keys, as Redis 7.2 answers them."""
