"""``python -m agents.advisor``."""

import sys

from agents.advisor.cli import main

sys.exit(main())
