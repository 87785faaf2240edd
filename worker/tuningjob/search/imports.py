"""Find the imports of a Python source without running it."""

import ast
from collections.abc import Iterator
from typing import Final

_IMPORTERS: Final = {"import_module", "__import__"}


def imported(source: bytes, package: str) -> tuple[str, ...]:
    """The modules that a source may import anywhere: at its top, within a function, or under a condition.

    Relative imports begin at ``package``. ``from a import b`` gives both ``a`` and ``a.b``, because ``b`` may be a module.
    ``import_module("a.b")`` counts if the name is a literal. A source that does not compile imports nothing. Raises
    RecursionError for one that nests too deeply to be parsed.
    """
    try:
        tree = ast.parse(source)
    except (SyntaxError, ValueError):
        return ()
    return tuple(dict.fromkeys(name for node in ast.walk(tree) for name in _named(node, package)))


def _named(node: ast.AST, package: str) -> Iterator[str]:
    match node:
        case ast.Import(names=names):
            yield from (each.name for each in names)
        case ast.ImportFrom(module=module, names=names, level=level):
            base = _absolute(module or "", level, package)
            if base:
                yield base
                yield from (f"{base}.{each.name}" for each in names if each.name != "*")
        case ast.Call(func=ast.Name(id=name) | ast.Attribute(attr=name), args=[ast.Constant(value=str(text)), *_]):
            if name in _IMPORTERS:
                plain = text.lstrip(".")
                found = _absolute(plain, len(text) - len(plain), package)
                if found:
                    yield found


def _absolute(name: str, level: int, package: str) -> str:
    """The absolute name of an import at ``level`` (1: in the package itself, 0: already absolute); empty if it has no parent."""
    if level == 0:
        return name
    parts = package.split(".") if package else []
    if level > len(parts):
        return ""
    return ".".join([*parts[: len(parts) - level + 1], *([name] if name else [])])
