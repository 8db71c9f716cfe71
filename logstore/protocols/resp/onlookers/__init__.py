"""Everything that is notified when keys change."""
