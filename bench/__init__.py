"""How fast logstore is, asked as questions with a bar each: `python -m bench`."""
