"""Names for values whose type cannot be written down: they say what a value is, and let it be anything.

scikit-learn takes any object that has an estimator's methods, which a user's class may be, and data may be of numpy, pandas,
polars or scipy. Such a value is checked when the program runs.
"""

from typing import Any, TypeAlias

# An object with get_params and set_params: a classifier, a transformer, a Pipeline; fitted or not.
Estimator: TypeAlias = Any
# X: an array, a sparse matrix or a frame; also a transformer's output, or what is predicted for X.
Matrix: TypeAlias = Any
# y: an array, a series, or None.
Target: TypeAlias = Any
# What scikit-learn's searches take as cv: a number of folds, or an object with split and get_n_splits.
AnySplitter: TypeAlias = Any
# A callable that takes an estimator, X and y, and returns a score or one for each metric.
AnyScorer: TypeAlias = Any
# A parameter's value: an estimator can take anything.
ParamValue: TypeAlias = Any
# What json.loads or a YAML file gives: not checked yet.
Json: TypeAlias = Any
# A value of any type for another reason, which the docstring of its function gives.
Anything: TypeAlias = Any
