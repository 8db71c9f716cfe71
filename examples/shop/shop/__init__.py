"""The project, and its Celery application."""

import os

from celery import Celery

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "shop.settings")

celery = Celery("shop", broker=os.environ.get("AMQP_URL", "amqp://127.0.0.1"))
celery.conf.task_ignore_result = True
celery.conf.task_acks_late = True  # a worker that is killed loses no task
celery.conf.task_default_queue = "orders"
celery.autodiscover_tasks(["shop"])
