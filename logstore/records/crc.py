"""CRC-32C (Castagnoli), the checksum of a record batch: one function, imported cheaply."""

import sys
from collections.abc import Callable
from importlib.machinery import PathFinder
from importlib.util import module_from_spec
from typing import cast


def _load() -> Callable[..., int]:
    # `import crc32c` takes 60 ms: the package's __init__ asks importlib.metadata for its own
    # version and imports a command line, and `from crc32c._crc32c import ...` runs that __init__
    # too. All the work is in the C extension beside it (which itself chooses between the SSE 4.2
    # or ARM instruction and tables), so it is loaded from its own file: 1 ms. It is not put into
    # sys.modules: a later `import crc32c` by anyone else works as if this had not happened.
    if "crc32c" not in sys.modules:
        package = PathFinder.find_spec("crc32c")
        places = package.submodule_search_locations if package else None
        spec = PathFinder.find_spec("_crc32c", list(places)) if places else None
        if spec is not None and spec.loader is not None:
            extension = module_from_spec(spec)
            spec.loader.exec_module(extension)
            found = getattr(extension, "crc32c", None)
            # RFC 3720 B.4's digest of 32 zeros: checks that the loaded module computes CRC-32C.
            if found is not None and found(bytes(32)) == 0x8A9136AA:
                return cast("Callable[..., int]", found)
    from crc32c import crc32c as public

    return cast("Callable[..., int]", public)


crc32c = _load()
