"""CatBoost, imported beside a polars that is none: it imports polars if it is there, which leaves a thread in this process.

In a process with threads the engine forks nothing, so tests after the import would try another way than they mean to.
"""

import sys
from contextlib import suppress
from types import ModuleType

if "polars" not in sys.modules:
    stand_in = ModuleType("polars")
    stand_in.__dict__.update(__version__="0", __getattr__=lambda name: type(name, (), {}))
    sys.modules["polars"] = stand_in
    with suppress(ImportError):
        import catboost  # noqa: F401
    del sys.modules["polars"]
