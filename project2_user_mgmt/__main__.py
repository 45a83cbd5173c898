"""`python -m project2_user_mgmt`: serve stage 2, configured by the environment; `… migrate`: migrate its database."""

import sys

from shared.database.migrate import migrate

if sys.argv[1:2] == ["migrate"]:  # before the imports below, which take seconds
    sys.exit(migrate("project2_user_mgmt", "project2", sys.argv[2:]))

from project2_user_mgmt.main import create_app
from project2_user_mgmt.settings import Settings
from shared.serve import serve

serve(Settings, create_app)
