# SPDX-License-Identifier: Apache-2.0
"""``python -m winnow.tasks``: winnow-tasks where nothing is installed."""

import sys

from winnow.tasks.command import main

sys.exit(main())
