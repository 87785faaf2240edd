"""Names for what has no type that can be written down: they say what a value is, and let it be anything.

scikit-learn takes any object that has an estimator's methods, a user's class may be one, and data may be of numpy, pandas,
polars or scipy. Such a value is looked at when the program runs.
"""

from typing import Any, TypeAlias

# Something with get_params and set_params: a classifier, a transformer, a Pipeline; fitted or not.
Estimator: TypeAlias = Any
# X: an array, a sparse matrix or a frame; also a transformer's output, or what is predicted for X.
Matrix: TypeAlias = Any
# y: an array, a series, or None.
Target: TypeAlias = Any
# What scikit-learn's searches take as cv: a number of folds, or an object with split and get_n_splits.
AnySplitter: TypeAlias = Any
# What is called with an estimator, X and y, and gives a score or one for each metric.
AnyScorer: TypeAlias = Any
# A parameter's value: an estimator can take anything.
ParamValue: TypeAlias = Any
# What json.loads or a YAML file gives: not checked yet.
Json: TypeAlias = Any
# Of any type, for another reason, which its function's docstring says.
Anything: TypeAlias = Any
