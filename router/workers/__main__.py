"""What the supervisor starts."""

import sys

from router.workers.child import main

main(sys.argv[1:])
