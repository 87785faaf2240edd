"""The identity of the code that a class or a function runs: every file and every distribution that decides what it does.

A file of an installed distribution is identified by the versions of the distribution and of its requirements. Any other file
outside Python itself (the user's own, or an editable install's) is identified by its digest. So are all its imports, anywhere in
the file and whether they have run or not. So two processes with the same files find the same identity.

It misses imports by a computed name, imports of the user's compiled files, files that are read as data, and files of an installed
distribution that were changed by hand.
"""

import functools
import importlib
import inspect
import json
import sys
import sysconfig
import types
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from functools import reduce
from importlib.machinery import ModuleSpec
from operator import or_
from pathlib import Path, PurePath
from typing import Any, Final

from tuningjob.aliases import Anything, Json, ParamValue
from tuningjob.protocol.code import digest_of
from tuningjob.search.imports import imported
from tuningjob.search.installed import Installed, named, normalized, owner

# Modules without a file to read: typed in, or run by ``python -m``.
_UNKNOWABLE: Final = {"__main__", "__mp_main__"}
_DEEPEST: Final = 32  # wrappers of a function, one in the other
_MOST_THINGS: Final = 100_000  # within an estimator and a grid
_PLAIN: Final = (str, bytes, bool, int, float, type(None))
_COLLECTIONS: Final = (list, tuple, dict, set, frozenset)
_CODE: Final = (
    type, functools.partial, types.FunctionType, types.BuiltinFunctionType, types.MethodType,
    types.MethodDescriptorType, types.WrapperDescriptorType,
)  # fmt: skip


@dataclass(frozen=True)
class CodeIdentity:
    """The identity of some code.

    ``parts`` maps each file or distribution to its digest, version, or both. ``versions`` has those of the distributions that
    contain the code, without their requirements. ``unknown`` has the modules whose code cannot be found.
    """

    parts: Mapping[str, str] = field(default_factory=dict)
    versions: Mapping[str, str] = field(default_factory=dict)
    unknown: frozenset[str] = frozenset()

    @property
    def digest(self) -> str:
        """The digest of all parts; empty if there are none."""
        return digest_of(json.dumps(sorted(self.parts.items())).encode()) if self.parts else ""

    def __or__(self, other: "CodeIdentity") -> "CodeIdentity":
        return CodeIdentity(
            {**self.parts, **other.parts}, {**self.versions, **other.versions}, self.unknown | other.unknown
        )


@dataclass(frozen=True)
class _Module:
    """What one module contributes: its file, or its distribution, or nothing; and the modules that it imports."""

    file: tuple[str, str] | None = None
    installed: Installed | None = None
    is_unknown: bool = False
    is_absent: bool = False
    imports: tuple[str, ...] = ()


class CodeReader:
    """Reads code as it is now; each file is read once, so all answers of one reader are from the same moment.

    Distributions in ``told`` are left out, because their versions are recorded elsewhere.
    """

    def __init__(self, told: Iterable[str] = ()) -> None:
        importlib.invalidate_caches()
        self._told = frozenset(map(normalized, told))
        self._modules: dict[str, _Module] = {}
        self._installed: dict[str, Installed | None] = {}
        self._of: dict[int, tuple[Any, CodeIdentity]] = {}

    def of(self, thing: Anything) -> CodeIdentity:
        """The code of a class (with the classes that it inherits from) or of a function."""
        known = self._of.get(id(thing))
        if known is None:
            # the object is kept, so that no other object gets its id
            known = self._of[id(thing)] = (thing, self.of_modules(modules_of(thing)))
        return known[1]

    def of_modules(self, names: Iterable[str]) -> CodeIdentity:
        """The identity of the code of modules and all their imports."""
        waiting, seen = list(names), set[str]()
        asked_for = frozenset(waiting)
        files: dict[str, str] = {}
        distributions: dict[str, Installed] = {}
        unknown: set[str] = set()
        while waiting:
            name = waiting.pop()
            if name in seen:
                continue
            seen.add(name)
            parent = name.rpartition(".")[0]
            if parent:
                waiting.append(parent)
            module = self._module(name)
            waiting += module.imports
            files |= dict([module.file] if module.file else [])
            # a module that is not found is an import that may fail, unless a class claims to be in it
            if module.is_unknown or (module.is_absent and name in asked_for):
                unknown.add(name)
            if module.installed is not None:
                distributions[normalized(module.installed.name)] = module.installed
        versions = {each.name: each.version for each in distributions.values() if self._is_to_be_told(each)}
        required = (each for each in self._with_required(distributions) if self._is_to_be_told(each))
        marks = {each.name: f"{each.version} {each.digest}".strip() for each in required}
        return CodeIdentity({**marks, **files}, versions, frozenset(unknown))

    def _is_to_be_told(self, distribution: Installed) -> bool:
        return bool(distribution.digest) or normalized(distribution.name) not in self._told

    def _with_required(self, distributions: Mapping[str, Installed]) -> Iterator[Installed]:
        """These distributions and their requirements, each once, without the requirements of those recorded elsewhere."""
        waiting, seen = list(distributions.values()), set[str]()
        while waiting:
            each = waiting.pop()
            key = normalized(each.name)
            if key in seen:
                continue
            seen.add(key)
            yield each
            if key not in self._told:
                waiting += filter(None, map(self._named, each.requires))

    def _named(self, name: str) -> Installed | None:
        key = normalized(name)
        if key not in self._installed:
            self._installed[key] = named(name)
        return self._installed[key]

    # --- one module

    def _module(self, name: str) -> _Module:
        if name not in self._modules:
            self._modules[name] = self._looked_at(name)
        return self._modules[name]

    def _looked_at(self, name: str) -> _Module:
        if name in _UNKNOWABLE or not name:
            return _Module(is_unknown=True)
        above = self._distribution_above(name)
        if above is not None:
            return _Module(installed=above)
        spec = _spec(name)
        if spec is None:
            # a loaded module without an origin was made by other code
            return _Module(is_unknown=name in sys.modules, is_absent=True)
        if _is_pythons(name, spec) or _is_namespace(spec):
            return _Module()
        return self._of_file(name, spec)

    def _distribution_above(self, name: str) -> Installed | None:
        parent = name.rpartition(".")[0]
        return self._module(parent).installed if parent else None

    def _of_file(self, name: str, spec: ModuleSpec) -> _Module:
        origin = PurePath(spec.origin or "")
        relative = _relative(name, origin)
        parent = name.rpartition(".")[0]
        is_of_own_package = bool(parent) and self._module(parent).file is not None
        if relative is not None and not is_of_own_package:
            installed = owner(origin, relative)
            if installed is not None:
                return _Module(installed=installed)
        content = _content(spec)
        if content is None:
            return _Module(is_unknown=True)
        package = name if spec.submodule_search_locations is not None else parent
        try:
            imports = imported(content, package) if origin.suffix == ".py" else ()
        except RecursionError:
            return _Module(is_unknown=True)
        return _Module(file=(relative or f"{name} ({origin.name})", digest_of(content)), imports=imports)


def things_in(*values: Anything) -> Iterator[Any]:
    """The classes and functions of all objects in estimators and their parameters.

    Exceptions of the user's own objects are ignored here; each object is visited once, even if it refers to itself.
    """
    waiting, seen = list(values), dict[int, Any]()
    while waiting and len(seen) < _MOST_THINGS:
        value = waiting.pop()
        if type(value) in _PLAIN or id(value) in seen:
            continue
        seen[id(value)] = value  # kept, so that no other object gets its id
        if issubclass(type(value), _CODE):
            yield value
        elif not issubclass(type(value), _COLLECTIONS):
            yield type(value)
        waiting += _within(value)


def _within(value: ParamValue) -> list[Any]:
    with suppress(Exception):  # an object of the user's
        if issubclass(type(value), dict):
            return [*value.keys(), *value.values()]
        if issubclass(type(value), _COLLECTIONS):
            return list(value)
        if not issubclass(type(value), _CODE):
            return list(value.get_params(deep=False).values())
    return []


def named_classes(document: Json) -> Iterator[str]:
    """The dotted paths of the classes and functions that a part of a manifest names."""
    waiting = [document]
    while waiting:
        value = waiting.pop()
        if isinstance(value, Mapping):
            named = [value.get("class"), *([value.get("function")] if len(value) == 1 else [])]
            yield from (path for path in named if isinstance(path, str))
            waiting += value.values()
        elif isinstance(value, list):
            waiting += [item for item in value if isinstance(item, Mapping | list)]


@dataclass(frozen=True)
class SearchCode:
    """The code of a search: ``estimators`` has the code that some of the fits run, and ``beside`` the code that all share."""

    reader: CodeReader
    estimators: CodeIdentity
    beside: CodeIdentity

    @property
    def all(self) -> CodeIdentity:
        """All code of the search."""
        return self.estimators | self.beside


def code_of_search(
    *,
    estimators: Iterable[Any],
    others: Iterable[Any],
    paths: Iterable[str],
    told: Iterable[str],
) -> SearchCode:
    """The code of a search: of the objects that it was made with, and of the modules that its manifest names by ``paths``.

    The modules in the paths count, too, because a module may import a class from another one and change it.
    """
    reader = CodeReader(told)
    # a class is met once for each of its objects
    things = list({id(thing): thing for thing in things_in(*estimators)}.values())
    covered = {above for thing in things for module in modules_of(thing) for above in _with_parents(module)}
    handing_on = {path.rpartition(".")[0] for path in paths} - covered - {""}
    beside = reduce(or_, map(reader.of, things_in(*others)), reader.of_modules(handing_on))
    return SearchCode(reader, reduce(or_, map(reader.of, things), CodeIdentity()), beside)


def _with_parents(module: str) -> Iterator[str]:
    while module:
        yield module
        module = module.rpartition(".")[0]


def modules_of(thing: Anything) -> Iterator[str]:
    """The modules that have the code of a class or a function; an empty name if one cannot be found."""
    if issubclass(type(thing), type):
        yield from map(_module_of, type.mro(thing))
        return
    for _ in range(_DEEPEST):
        if issubclass(type(thing), functools.partial):
            thing = thing.func
            continue
        if issubclass(type(thing), types.MethodType):
            bound_to = thing.__self__
            yield from modules_of(bound_to if issubclass(type(bound_to), type) else type(bound_to))
            thing = thing.__func__
        yield _module_of(thing)
        thing = inspect.getattr_static(thing, "__wrapped__", None)
        if thing is None:
            return
    yield ""


def _module_of(thing: Anything) -> str:
    with suppress(Exception):  # a metaclass of the user's
        module = thing.__module__
        if isinstance(module, str):
            return module
    return ""


def _spec(name: str) -> ModuleSpec | None:
    """Where a module comes from, or would come from; this imports nothing."""
    loaded = sys.modules.get(name)
    if loaded is not None:
        with suppress(Exception):
            spec = loaded.__spec__
            return spec if isinstance(spec, ModuleSpec) else None
        return None
    parent, _, _ = name.rpartition(".")
    path = None
    if parent:
        found = _spec(parent)
        if found is None or found.submodule_search_locations is None:
            return None
        path = list(found.submodule_search_locations)
    for finder in sys.meta_path:
        with suppress(Exception):  # a finder of the user's
            spec = finder.find_spec(name, path)
            if spec is not None:
                return spec
    return None


@functools.cache
def _folders_of_python() -> tuple[Path, ...]:
    return tuple({Path(sysconfig.get_path(name)).resolve() for name in ("stdlib", "platstdlib")})


def _is_pythons(name: str, spec: ModuleSpec) -> bool:
    """Whether a module is of the standard library; a user's file with such a name is not."""
    if name.partition(".")[0] not in sys.stdlib_module_names:
        return False
    if not spec.has_location or spec.origin is None:
        return True
    origin = Path(spec.origin).resolve()
    return "site-packages" not in origin.parts and any(map(origin.is_relative_to, _folders_of_python()))


def _is_namespace(spec: ModuleSpec) -> bool:
    return spec.submodule_search_locations is not None and not spec.has_location


def _relative(name: str, origin: PurePath) -> str | None:
    """The file's path relative to its folder on the path; None if its place does not match the module's name."""
    parts = name.split(".")
    stem = origin.name.partition(".")[0]
    if stem == "__init__" and parts[-1] != "__init__":
        parts.append(stem)
    depth = len(parts)
    found = origin.parts[-depth:]
    if len(origin.parts) <= depth or [*found[:-1], stem] != parts:
        return None
    return "/".join(found)


def _content(spec: ModuleSpec) -> bytes | None:
    """The bytes of a module's file, which may be in a zip."""
    if spec.origin is None:
        return None
    with suppress(Exception):  # a loader of the user's
        path = Path(spec.origin)
        if path.is_file():
            return path.read_bytes()
        loader: Any = spec.loader
        content = loader.get_data(spec.origin)
        return content if isinstance(content, bytes) else None
    return None
