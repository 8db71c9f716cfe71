"""What an answer is made of: in one piece, bit by bit, or as events."""
