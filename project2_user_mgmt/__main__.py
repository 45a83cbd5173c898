"""`python -m project2_user_mgmt` serves stage 2 where the addresses are set; `… migrate` migrates its database."""

import sys

from project2_user_mgmt.main import create_app
from project2_user_mgmt.settings import Settings
from shared.migrate import migrate
from shared.serve import serve

if sys.argv[1:] == ["migrate"]:
    sys.exit(migrate("project2_user_mgmt", "project2"))
serve(Settings, create_app)
