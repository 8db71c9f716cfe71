"""The protocols that clients speak, without sockets, clocks or disks: bytes in, bytes out."""
