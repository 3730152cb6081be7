"""`python -m fonshare_agent` is `fonshare`."""

import sys

from fonshare_agent.cli import main

sys.exit(main())
