"""The views of the dashboard, a module each. A view draws a picture of the model, and asks through its page."""

from workbench.dashboard.views.base import View
from workbench.dashboard.views.charts import Charts
from workbench.dashboard.views.dead import Dead
from workbench.dashboard.views.failures import Failures
from workbench.dashboard.views.overview import Overview
from workbench.dashboard.views.queues import Queues
from workbench.dashboard.views.stream import Stream
from workbench.dashboard.views.task import Task
from workbench.dashboard.views.tasks import Tasks
from workbench.dashboard.views.workers import Workers

VIEWS: dict[str, type[View]] = {
    view.name: view for view in (Overview, Stream, Charts, Queues, Workers, Tasks, Failures, Dead, Task)
}
TITLES = [(view.name, view.title) for view in VIEWS.values() if view.title]
