from hypothesis import settings

# The same examples on every run and every machine; a failure prints its own reproduction.
settings.register_profile("resp", derandomize=True, deadline=None, database=None)
settings.load_profile("resp")
