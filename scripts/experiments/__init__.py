"""Grids of trainings on the real pipeline, their raw results, and the pages that are made from these.

    python -m scripts.experiments run scripts/experiments/grids/tokens.yaml      # trains what has no row yet
    python -m scripts.experiments compare skills/skills12 lean grpo              # two methods, evaluation by evaluation
    python -m scripts.experiments tables skills                                  # all tables of a grid
    python -m scripts.experiments page                                           # docs/evidence.md and its figures

These commands run from the repository root. The words of this package:

- **grid**: a YAML file that says what is trained to answer one question: methods x regimes x seeds.
- **regime**: a task with its settings, such as the number of steps of a problem and which of them are hard.
- **method**: an optimizer alone, or with one of GPO's searches.
- **cell**: one training of a grid: a method with its settings, a regime and a seed.
- **row**: the result of a cell, a line of ``results/runs.csv``; its evaluations are lines of ``evaluations.csv``.

Which file does what:

- ``grids/*.yaml`` are the grids. ``settings``: names of methods, and the settings that are columns of a row. ``grids``:
  reads a grid, and lists its cells.
- ``runner``: trains the cells that have no row yet. ``trainings`` and ``offline``: the two kinds of cells.
  ``pipeline``: starts several trainings in one process. ``evaluation``: samples from a model.
- ``rows``: a row and its evaluations. ``results``: reads, checks and extends the files in ``results/``.
- ``comparison``: two methods at equal cost, and the cost of equal accuracy.
- ``tables``, ``measures``, ``distance``, ``optimizers``: the complete tables. ``pair``: two methods. ``answers``: a
  table for each question of the page. ``cells``: Markdown. ``figures``: PNG files.
- ``page``, ``markers``: the sections of the pages that these tables fill.

This package measures ``verl_gpo`` and is not a part of it: nothing in ``verl_gpo`` imports it.
"""
