"""The only code, with the pipelines, that knows Kedro, MLflow and DVC."""
