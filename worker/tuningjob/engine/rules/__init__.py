"""What may be shared between candidates that differ in one place: one rule a file, each proved to the bit by a test.

A module of this package that registers a rule is all that it takes; rules of other packages are found by the entry point
``tuningjob.rules`` (a module that registers them when it is imported), or registered in a notebook by ``register``.
"""

from tuningjob.engine.rules.base import Ceiling, Inert, NestedFit, NestedTransform, Rule, register

__all__ = ["Ceiling", "Inert", "NestedFit", "NestedTransform", "Rule", "register"]
