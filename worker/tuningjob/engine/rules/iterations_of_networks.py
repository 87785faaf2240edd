"""A limit of iterations has no effect on a neural network whose fit ends before it.

This is separate from the rule for other estimators, so that their searches do not import scikit-learn's neural networks.
"""

from sklearn.neural_network import MLPClassifier, MLPRegressor

from tuningjob.engine.rules.base import register
from tuningjob.engine.rules.iterations import Iterations


@register
class IterationsOfNetworks(Iterations):
    """Shares ``max_iter`` of neural networks, whose ``n_iter_`` says how many iterations they used."""

    estimators = (MLPClassifier, MLPRegressor)
