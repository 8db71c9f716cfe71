"""HTTP/1.1 as bytes, for who is asked and for who asks. No socket, no disk, no clock."""
