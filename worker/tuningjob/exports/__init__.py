"""What came of a search, for what people look at their experiments with: tables, optuna's storage, MLflow."""
