"""Metrics with intervals, baselines, figures and the report.

Knows predictions as tables and arrays (only `predict` runs a model): no Kedro, no MLflow.
"""
