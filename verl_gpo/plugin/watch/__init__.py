"""What happens when a process of the run dies, or nothing happens any more.

- :mod:`~verl_gpo.plugin.watch.watchdog`   in the trainer's process: ends the run when a process of it has died, and
  names after a silence what everything waits for
- :mod:`~verl_gpo.plugin.watch.probe`      what each process says of itself when the watchdog asks
- :mod:`~verl_gpo.plugin.watch.silence`    when a silence is reported, and in which words
- :mod:`~verl_gpo.plugin.watch.caretaker`  beside the driver: ends the processes that outlive the driver, and removes
  their files from shared memory
"""
