"""`python -m project2_user_mgmt` serves stage 2 where the addresses are set; `… migrate` migrates its database."""

import sys

from shared.database.migrate import migrate

if sys.argv[1:2] == ["migrate"]:  # without what follows, which takes seconds to import
    sys.exit(migrate("project2_user_mgmt", "project2", sys.argv[2:]))

from project2_user_mgmt.main import create_app
from project2_user_mgmt.settings import Settings
from shared.serve import serve

serve(Settings, create_app)
