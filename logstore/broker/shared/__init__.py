"""Share groups (KIP-932) at work: share partitions connected with their logs and the journal."""
