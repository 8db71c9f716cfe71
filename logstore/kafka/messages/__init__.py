"""One module per message: what a request and its response hold, in every version."""
