"""Identifies the sender of a request, and refuses requests from pages of other sites."""
