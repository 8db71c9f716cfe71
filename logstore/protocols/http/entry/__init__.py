"""Who sends a request, and whether a page of somebody else's may."""
