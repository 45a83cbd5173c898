"""`python -m agent_api` is the command `agent-api`."""

import sys

from agent_api.command import main

sys.exit(main())
