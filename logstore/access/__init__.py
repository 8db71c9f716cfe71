"""Who may do what: users, logins and rules. Pure: no disk, socket or clock."""
