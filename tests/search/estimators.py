"""Estimators that misbehave, each in a way of its own; real ones, imported as a user's are."""

import os
import signal
import threading
import time
from pathlib import Path
from typing import Any

from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.tree import DecisionTreeClassifier


class Hanging(DecisionTreeClassifier):
    """A tree whose fit never ends, where it ``hangs``."""

    def __init__(self, hangs: bool = False, max_depth: int | None = None, random_state: int | None = None) -> None:
        super().__init__(max_depth=max_depth, random_state=random_state)
        self.hangs = hangs

    def fit(self, X: Any, y: Any) -> "Hanging":
        while self.hangs:
            time.sleep(60)
        fitted: Hanging = super().fit(X, y)
        return fitted


class DefaultIsWrong(DecisionTreeClassifier):
    """A tree that cannot be fitted with the default of ``depth``."""

    def __init__(self, depth: int = 0) -> None:
        super().__init__(max_depth=depth, random_state=0)
        self.depth = depth

    def fit(self, X: Any, y: Any) -> "DefaultIsWrong":
        if self.depth < 1:
            raise ValueError("a depth of 0")
        self.max_depth = self.depth
        fitted: DefaultIsWrong = super().fit(X, y)
        return fitted


class DefaultIsLethal(DefaultIsWrong):
    """A tree whose fit ends its process, with the default of ``depth``."""

    def fit(self, X: Any, y: Any) -> "DefaultIsLethal":
        if self.depth < 1:
            os._exit(7)
        super().fit(X, y)
        return self


class Conscious(DecisionTreeClassifier):
    """A tree that takes no depth but one or two or three."""

    def set_params(self, **params: Any) -> "Conscious":
        if params.get("max_depth", 1) not in {1, 2, 3}:
            raise ValueError("too deep")
        changed: Conscious = super().set_params(**params)
        return changed


class FailsBeyond(DecisionTreeClassifier):
    """A tree that cannot be fitted with a ``size`` of more than 3."""

    def __init__(self, depth: int = 1, size: int = 1) -> None:
        super().__init__(max_depth=depth, random_state=0)
        self.depth = depth
        self.size = size

    def fit(self, X: Any, y: Any) -> "FailsBeyond":
        if self.size > 3:
            raise ValueError(f"a size of {self.size}")
        fitted: FailsBeyond = super().fit(X, y)
        return fitted


class Slow(DecisionTreeClassifier):
    """A tree whose fit takes a millisecond more for each row."""

    def fit(self, X: Any, y: Any) -> "Slow":
        time.sleep(len(X) / 1_000)
        fitted: Slow = super().fit(X, y)
        return fitted


class Deadly(DecisionTreeClassifier):
    """A tree whose fit ends its whole group of processes."""

    def fit(self, X: Any, y: Any) -> "Deadly":
        os.killpg(0, signal.SIGKILL)
        return self


class Struck(DecisionTreeClassifier):
    """A tree whose process is killed in a fit of depth 7, once: the file ``struck`` says that it was."""

    def __init__(self, struck: str = "", max_depth: int | None = None, random_state: int | None = None) -> None:
        super().__init__(max_depth=max_depth, random_state=random_state)
        self.struck = struck

    def fit(self, X: Any, y: Any) -> "Struck":
        if self.max_depth == 7 and not Path(self.struck).exists():
            Path(self.struck).touch()
            os.kill(os.getpid(), signal.SIGKILL)
        fitted: Struck = super().fit(X, y)
        return fitted


class Hungry(DecisionTreeClassifier):
    """A tree that needs 64 MiB more than others."""

    def fit(self, X: Any, y: Any) -> "Hungry":
        bytearray(64 * 2**20).find(b"x")
        fitted: Hungry = super().fit(X, y)
        return fitted


class Insatiable(DecisionTreeClassifier):
    """A tree that asks for 1 GiB more than others."""

    def fit(self, X: Any, y: Any) -> "Insatiable":
        bytearray(2**30)
        fitted: Insatiable = super().fit(X, y)
        return fitted


class Lenient(DecisionTreeClassifier):
    """A tree to which a depth of 0 means: no limit. The constraints that it inherits are another's."""

    def fit(self, X: Any, y: Any) -> "Lenient":
        depth = self.get_params()["max_depth"]
        self.set_params(max_depth=depth or None)
        fitted: Lenient = super().fit(X, y)
        return fitted.set_params(max_depth=depth)


class Tokenizer:
    """What holds a lock."""

    def __init__(self) -> None:
        self._lock = threading.Lock()

    def locked(self) -> bool:
        return self._lock.locked()


class Locked(TransformerMixin, BaseEstimator):
    """A transformer that makes its tokenizer too early."""

    def __init__(self) -> None:
        self.tokenizer = Tokenizer()

    def fit(self, X: Any, y: Any = None) -> "Locked":
        return self

    def transform(self, X: Any) -> Any:
        return X


class Keeping(TransformerMixin, BaseEstimator):
    """A transformer that keeps what it is given."""

    def __init__(self, what: Any = None) -> None:
        self.what = what

    def fit(self, X: Any, y: Any = None) -> "Keeping":
        return self

    def transform(self, X: Any) -> Any:
        return X


def broken_loader() -> Any:
    raise RuntimeError("the warehouse is closed")


def leaving_loader() -> Any:
    raise SystemExit(0)


def uneven_loader() -> Any:
    return [[1.0], [2.0], [3.0]], [0, 1]


def texts() -> Any:
    return ["one two", "two three", "four", "five one"] * 10, [0, 0, 1, 1] * 10


class Capricious(DecisionTreeClassifier):
    """A tree that does not tell its parameters, but for once."""

    asked = 0

    def get_params(self, deep: bool = True) -> Any:
        type(self).asked += 1
        if type(self).asked > 2:
            raise RuntimeError("not before noon")
        return super().get_params(deep)


class Reluctant(DecisionTreeClassifier):
    """A tree that takes no fewer rows than so many."""

    def __init__(self, fails_below: int = 0) -> None:
        super().__init__()
        self.fails_below = fails_below

    def fit(self, X: Any, y: Any) -> "Reluctant":
        if len(X) < self.fails_below:
            raise ValueError("too few rows")
        fitted: Reluctant = super().fit(X, y)
        return fitted


class Picky(DecisionTreeClassifier):
    """A tree that minds what two of its parameters are: one of the two must not be ``fails_for`` any."""

    def __init__(self, fails_for: Any = (), one: str = "", other: str = "") -> None:
        super().__init__()
        self.fails_for = fails_for
        self.one = one
        self.other = other

    def fit(self, X: Any, y: Any) -> "Picky":
        if self.one in self.fails_for or self.other in self.fails_for:
            raise ValueError(f"not {self.one} with {self.other}")
        fitted: Picky = super().fit(X, y)
        return fitted


class Sampler(BaseEstimator):
    """A step as imbalanced-learn's samplers are."""

    def fit_resample(self, X: Any, y: Any) -> Any:
        return X, y


class Offline(DecisionTreeClassifier):
    """A tree that asks somebody who does not answer."""

    def fit(self, X: Any, y: Any) -> "Offline":
        raise ConnectionRefusedError("nobody is there")


class Starved(DecisionTreeClassifier):
    """A tree for which there is never memory enough."""

    def fit(self, X: Any, y: Any) -> "Starved":
        raise MemoryError("no room")


class KnowsItself(BaseEstimator):
    """Its parameter is itself."""

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        return {"me": self, "other": self}


class TakesAny(DecisionTreeClassifier):
    """A tree that takes parameters that nobody lists, as LightGBM does; but none that ends in ``_bad``."""

    def __init__(self, max_depth: int | None = None, **kwargs: Any) -> None:
        super().__init__(max_depth=max_depth)
        self._others: dict[str, Any] = {}
        self.set_params(**kwargs)

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        return {"max_depth": self.max_depth, **self._others}

    def set_params(self, **params: Any) -> "TakesAny":
        for name, value in params.items():
            if name.endswith("_bad"):
                raise ValueError(f"Unknown parameter {name}")
            if name == "max_depth":
                self.max_depth = value
            else:
                self._others[name] = value
        return self


class Module:
    """What a net is made of: no estimator."""


class Net(TakesAny):
    """As skorch's: ``module__…`` goes to a class."""

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        return {**super().get_params(deep), "module": Module}
