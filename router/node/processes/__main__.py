"""What the supervisor starts."""

import sys

from router.node.processes.garbage_collection import spare_start
from router.node.processes.settings_reader import SettingsReader
from router.node.processes.structlog_import import import_structlog

spare_start()
is_worker = any(word.startswith("proxy=") for word in sys.argv[2:])
reader = SettingsReader.fork() if is_worker else None  # before anything imports the settings
import_structlog()

from router.node.processes.child import main  # noqa: E402

main(sys.argv[1:], reader)
