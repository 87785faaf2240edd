"""A limit of iterations does nothing to a neural network whose fit ends before it.

Apart from the other estimators', so that a search of those does not import scikit-learn's neural networks.
"""

from sklearn.neural_network import MLPClassifier, MLPRegressor

from tuningjob.engine.rules.base import register
from tuningjob.engine.rules.iterations import Iterations


@register
class IterationsOfNetworks(Iterations):
    """``max_iter`` of neural networks, which tell in ``n_iter_`` how many iterations they used."""

    estimators = (MLPClassifier, MLPRegressor)
