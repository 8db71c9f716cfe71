"""``python -m logstore_cli``."""

from .main import main

main()
