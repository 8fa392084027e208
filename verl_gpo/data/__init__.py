"""Public data sets in verl's parquet schema: ``python -m verl_gpo.data.prepare``. Imports no framework."""
