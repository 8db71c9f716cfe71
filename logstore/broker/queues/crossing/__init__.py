"""Topics that feed exchanges: topic routes."""
