"""WHERE it happens: one Prefect task per side effect.

The only layer that knows prefect, mlflow, great_expectations and keys.
"""
