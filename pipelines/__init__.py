"""WHAT Lethe does: the library.

Importable without a server; knows torch, never prefect, mlflow or great_expectations.
"""
