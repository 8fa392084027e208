"""``python -m verl_gpo.config`` prints the table of settings in docs/configuration.md."""

from .reference import reference_table

if __name__ == "__main__":
    print(reference_table())
