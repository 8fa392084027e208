"""The module that verl loads (entry point group ``verl.plugins``): importing it registers GPO in the process.

verl does this in every worker, while verl itself is only partly imported, so nothing large is imported here.
"""

import logging

try:
    from ..cpu import verl_platform as cpu

    cpu.activate()

    from . import attention

    attention.activate()

    from . import (
        estimator,  # noqa: F401  (the estimator registers by being imported)
        sockets,
    )
    from .checks import validate
    from .observe import messages, metrics_file

    validate.install()
    metrics_file.install()
    messages.install()
    sockets.activate()
except Exception:
    # verl logs a plugin's exception only at level DEBUG. Without this line a run would continue without GPO silently.
    logging.getLogger("verl_gpo").exception("verl_gpo could not be loaded as a verl plugin; GPO is not available")
    raise
