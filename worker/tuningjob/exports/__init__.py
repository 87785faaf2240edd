"""The results of a search for tools with which people look at experiments: tables, optuna's storage, MLflow."""
