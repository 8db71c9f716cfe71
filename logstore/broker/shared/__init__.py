"""Share groups (KIP-932) at work: share partitions over their logs, and with the journal."""
