"""What login tokens are signed with."""

import os

SECRET_KEY = os.environ["HOST_SECRET_KEY"]
ALGORITHM = "HS256"
