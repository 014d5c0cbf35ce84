"""The only servable: `panel serve workbench/dashboard/app.py`, or `workbench dashboard`.

Everything comes from the environment, as `panel serve` gives an app nothing else: `WORKBENCH_BROKER_URL` (or the
workbench that runs on this machine), `WORKBENCH_DASHBOARD_READ_ONLY` and `WORKBENCH_DASHBOARD_USERS`.
"""

from __future__ import annotations

from workbench.dashboard.page import Page

# Without Panel's own location: it puts each address into the history once more, so that there's no way back.
Page.open().servable(title="workbench", location=False)
