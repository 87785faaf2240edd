"""The rules, one a file: what candidates that differ in one place may share, each proved to the bit by a test.

A module of this package only has to register its rule. Rules of other packages are found by the entry point ``tuningjob.rules``
(a module that registers them when it is imported), or registered in a notebook by ``register``.
"""

from tuningjob.engine.rules.base import Ceiling, Inert, NestedFit, NestedTransform, Rule, register

__all__ = ["Ceiling", "Inert", "NestedFit", "NestedTransform", "Rule", "register"]
