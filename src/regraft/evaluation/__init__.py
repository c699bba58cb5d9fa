"""Metrics with intervals, baselines, figures and the report.

Knows predictions as tables and arrays: no model, no torch, no Kedro, no MLflow.
"""
