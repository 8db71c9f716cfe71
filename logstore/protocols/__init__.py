"""What clients speak, without sockets, clocks or disks: bytes in, bytes out."""
