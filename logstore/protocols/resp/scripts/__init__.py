"""Scripts that are recognized by their text and executed without Lua."""
