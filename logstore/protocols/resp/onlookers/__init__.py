"""Who is to know when keys change."""
