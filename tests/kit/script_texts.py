"""Prints the Lua texts of packages as they are installed, as JSON: the package, then each text.

Read out of the source, since some of these packages can't be imported without what they are for.
"""

import ast
import importlib.util
import json
import sys
from pathlib import Path

FILES = {
    "redis": ["redis/lock.py"],
    "django_redis": ["django_redis/client/default.py"],
    "aiocache": ["aiocache/backends/redis.py"],
    "huey": ["huey/storage.py"],
    "aioredlock": ["aioredlock/redis.py"],
    "channels_redis": ["channels_redis/core.py"],
    "redis_lock": ["redis_lock/__init__.py"],
    "fastapi_cache": ["fastapi_cache/backends/redis.py"],
    "kombu": ["kombu/transport/redis.py"],
    "celery": ["celery/backends/redis.py"],
}


def folder_of(package):
    return Path(importlib.util.find_spec(package).submodule_search_locations[0])


def texts_of(path):
    """String constants that call Redis; ``NAME`` stands for inserted values."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.JoinedStr):
            parts = [it.value if isinstance(it, ast.Constant) else "NAME" for it in node.values]
            text = "".join(parts)
        elif isinstance(node, ast.Constant) and isinstance(node.value, (str, bytes)):
            text = node.value.decode() if isinstance(node.value, bytes) else node.value
        else:
            continue
        if "redis.call(" in text and (package_has_all(text)):
            yield text


def package_has_all(text):
    """Whether the text is a whole script, not a part of a formatted one or a comment."""
    return (text.count("(") == text.count(")") and "NAME:*" in text) or "KEYS[" in text or (
        "ARGV[" in text or "lock:*" in text
    )  # fmt: skip


found = {}
for package, files in FILES.items():
    if importlib.util.find_spec(package) is not None:
        root = folder_of(package).parent
        found[package] = [text for file in files for text in texts_of(root / file)]
if importlib.util.find_spec("limits") is not None:
    scripts = folder_of("limits") / "resources/redis/lua_scripts"
    found["limits"] = [path.read_text() for path in sorted(scripts.glob("*.lua"))]
json.dump(found, sys.stdout)
