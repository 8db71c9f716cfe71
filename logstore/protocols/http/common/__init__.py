"""What all sessions of the HTTP door share, and its bounds."""
