"""Which model is registered, whether it becomes the champion, and its model card.

Knows predictions and metrics as plain data: no registry's client, no torch, no Kedro, no MLflow.
"""
