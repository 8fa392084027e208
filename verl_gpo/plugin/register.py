"""What verl loads (entry point group ``verl.plugins``): importing this module registers GPO in the process.

verl is half imported at that moment and does so in every worker, so nothing heavy is imported here.
"""

import logging

try:
    from ..cpu import verl_platform as cpu

    cpu.activate()

    from . import attention

    attention.activate()

    from . import estimator  # noqa: F401  (the estimator registers by being imported)
    from .checks import validate
    from .observe import metrics_file

    validate.install()
    metrics_file.install()
except Exception:
    # verl swallows a plugin's exception at level DEBUG: without this line a run would go on as if GPO were not there.
    logging.getLogger("verl_gpo").exception("verl_gpo could not be loaded as a verl plugin; GPO is not available")
    raise
