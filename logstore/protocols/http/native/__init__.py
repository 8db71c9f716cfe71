"""The API of our own, `/api/v1`: what its routes do."""
