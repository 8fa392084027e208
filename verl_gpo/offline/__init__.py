"""GPO without verl: vLLM alone, pairs at the critical step, and TRL (Procedure II).

- :mod:`~verl_gpo.offline.engine`    vLLM as the engine's ``Sampler``; :mod:`~verl_gpo.offline.task` prompts and rewards
- :mod:`~verl_gpo.offline.launch`    several engines side by side
- :mod:`~verl_gpo.offline.build`     the pair builder: ``plan`` its command line, ``explore`` what one prompt draws,
  ``records`` what was drawn, ``pairs`` the choice, ``schema`` the files, ``build_report`` the folder
- :mod:`~verl_gpo.offline.train`     TRL's trainers: ``train_plan`` the command line, ``trainers`` exact token ids
- :mod:`~verl_gpo.offline.fingerprint`, :mod:`~verl_gpo.offline.model`   what drawn samples depend on
"""
