"""The facts that are stored beside logs: what the models and the storage know of them."""
