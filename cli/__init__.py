"""The ``logstore`` command. Installed as ``logstore_cli``; knows only the library's face."""
