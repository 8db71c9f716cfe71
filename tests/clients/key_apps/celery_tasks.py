import os

from celery import Celery

app = Celery("t", broker=os.environ["REDIS_URL"], backend=os.environ["REDIS_URL"])


@app.task
def add(a, b):
    return a + b


@app.task
def total(numbers):
    return sum(numbers)


@app.task
def fails():
    raise ValueError("no")
