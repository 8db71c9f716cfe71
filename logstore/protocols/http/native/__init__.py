"""The handlers of logstore's own API, ``/api/v1``."""
