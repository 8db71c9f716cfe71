"""What all sessions of the door share, and what that is bounded by."""
