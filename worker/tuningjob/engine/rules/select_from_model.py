"""One fitted model says which features matter, for any number of kept features."""

from typing import Any

from sklearn.base import clone
from sklearn.feature_selection import SelectFromModel

from tuningjob.aliases import Estimator, Matrix, Target
from tuningjob.engine.fingerprint import is_integer
from tuningjob.engine.rules.base import NestedTransform, register
from tuningjob.engine.rules.values import is_valid
from tuningjob.engine.rules.views import view


@register
class FeaturesOfAModel(NestedTransform):
    """Shares ``threshold`` and ``max_features`` of SelectFromModel, which it uses only to transform rows."""

    estimators = (SelectFromModel,)
    parameters = ("threshold", "max_features")
    proof = "tests/engine/rules/test_select_from_model.py::test_the_model_is_fitted_once"

    def applies(self, transformer: Estimator, X: Matrix) -> bool:  # noqa: ARG002
        most = transformer.max_features
        return (
            transformer.prefit is False
            and isinstance(transformer.importance_getter, str)
            and is_valid(transformer, "threshold")
            and (most is None or (is_integer(most) and most >= 0))
        )

    def fit(self, transformer: Estimator, X: Matrix, y: Target) -> Estimator:
        return clone(transformer).set_params(threshold=None, max_features=None).fit(X, y)

    def derive(self, common: Estimator, transformer: Estimator, X: Matrix) -> tuple[Any, Any]:
        most = transformer.max_features
        made = view(common, transformer, **({} if most is None else {"max_features_": most}))
        return made.transform(X), made
