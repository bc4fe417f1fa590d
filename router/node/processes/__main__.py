"""What the supervisor starts."""

import sys

# structlog looks for rich, to draw tracebacks with it; ours are plain (`observe/logs.py`), and it is a tenth of what a
# worker holds. So there is none: a module that is None in here can't be imported.
sys.modules["rich"] = None  # type: ignore[assignment]

from router.node.processes.garbage_collection import spare_start  # noqa: E402

spare_start()

from router.node.processes.child import main  # noqa: E402

main(sys.argv[1:])
