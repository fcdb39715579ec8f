"""python -m gochat"""

import sys

from gochat.cli import main

sys.exit(main())
