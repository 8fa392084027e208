"""GPO's Procedure II: pairs from the state before the critical step, and TRL's trainers on them.

- :mod:`~verl_gpo.offline.build`     the pair builder: ``build_settings`` its command line, ``explore`` what one prompt
  draws, ``records`` what was drawn, ``pairs`` the choice, ``seam`` token ids as text, ``schema`` the
  files, ``build_report`` the folder
- :mod:`~verl_gpo.offline.train`     TRL's trainers: ``train_settings`` the command line, ``trainers`` exact token ids
"""
