"""A data directory whose channels keep a history."""

ORDERS_KEPT = '[[channel]]\npattern = "orders.*"\nhistory = "1h"\n'


def keeping_orders(folder):
    """Create the directory ``folder`` with this configuration."""
    folder.mkdir()
    (folder / "logstore.toml").write_text(ORDERS_KEPT)
    return folder
