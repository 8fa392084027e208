"""The laboratory: trainings on the real pipeline, method x regime x seed, and the pages that their rows make.

    python -m scripts.experiments run scripts/experiments/grids/tokens.yaml      # trains what has no row yet
    python -m scripts.experiments compare skills/skills12 lean grpo              # two methods, evaluation by evaluation
    python -m scripts.experiments tables skills                                  # all tables of a grid
    python -m scripts.experiments page                                           # docs/evidence.md and its figures

From the repository root. Who owns what:

- ``grids/*.yaml``: the questions. ``settings``: names of methods, and the settings that are columns; ``grids``: reads a
  grid and says which cells it has.
- ``runner``: what is missing, and a row of each cell that was trained. ``trainings`` and ``offline`` are the two kinds
  of cells, ``pipeline`` starts what trains several of them in turn, ``evaluation`` samples from a model.
- ``results/``: the rows. ``rows``: a run and its evaluations; ``results``: reads, checks and appends to the files.
- ``comparison``: two methods at equal cost, and the cost of equal accuracy.
- ``tables``, ``measures``, ``distance``, ``optimizers``: the tables in full. ``pair``: two methods. ``answers``: a
  table for each question of the page. ``cells``: Markdown. ``figures``: PNG files.
- ``page``, ``markers``: what stands in which page.

The package measures ``verl_gpo`` and is no part of it: nothing there imports it.
"""
