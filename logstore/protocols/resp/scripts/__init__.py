"""Scripts that are known by what they say, and done without Lua."""
