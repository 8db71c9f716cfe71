"""What keeps logs small: retention. Decides purely; the logs act. Knows the waist and storage."""
