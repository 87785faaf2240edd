"""A plugin of pytest: scikit-learn's tests, run against tuningjob's search classes."""

import sklearn.model_selection

import tuningjob

sklearn.model_selection.GridSearchCV = tuningjob.GridSearchCV
sklearn.model_selection.RandomizedSearchCV = tuningjob.RandomizedSearchCV
