"""The version of logstore."""

from typing import Final

# The only place that has it: pyproject.toml reads it here, and asking for an installed package's
# version takes 20 ms.
VERSION: Final = "0.1.0"
