"""Who may do what: users, how they log in, and the rules. Pure: no disk, socket or clock."""
