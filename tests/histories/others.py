"""Producers of other makers: aiokafka, kafka-python."""

import asyncio
import logging
import math
import warnings
from contextlib import suppress

from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError as AioKafkaError

from tests.histories.confluent import PATIENCE_S, TRANSACTION_MS, padded
from tests.histories.history import Outcome, Send
from tests.histories.recorder import Client

with warnings.catch_warnings():
    warnings.simplefilter("ignore", DeprecationWarning)  # its own, of importlib.resources
    from kafka import KafkaProducer
    from kafka.errors import KafkaError, KafkaTimeoutError

REQUEST_MS = 1000
FORGOTTEN_MS = 10_000
for name in ("aiokafka", "kafka"):  # that a server does not answer is no news
    logging.getLogger(name).addHandler(logging.NullHandler())


class Other(Client):
    """Transactions of sends; after any error with a new producer of the same id."""

    def __init__(self, name, recorder, choose, address, places):
        super().__init__(name, recorder, choose)
        self.address, self.places = address, places

    def drawn(self):
        """Places and values of one transaction."""
        chosen = self.choose.choices(self.places, k=self.choose.randrange(1, 4))
        return [(place, self.recorder.value(self.name)) for place in chosen]


class Aio(Other):
    def live(self):
        asyncio.run(self.transactions())

    async def transactions(self):
        producer = AIOKafkaProducer(
            bootstrap_servers=self.address, transactional_id=self.name,
            transaction_timeout_ms=TRANSACTION_MS, request_timeout_ms=REQUEST_MS,
            retry_backoff_ms=50,
        )  # fmt: skip
        try:
            async with asyncio.timeout(PATIENCE_S):
                await producer.start()
            while not self.stopping.is_set():
                async with asyncio.timeout(PATIENCE_S):
                    await self.transact(producer)
        except (AioKafkaError, TimeoutError):
            pass  # a new one
        finally:
            await self.close(producer)

    async def close(self, producer):
        try:
            async with asyncio.timeout(REQUEST_MS / 1000):
                await producer.stop()
        except (AioKafkaError, TimeoutError):
            pass  # it has gone all the same

    async def transact(self, producer):
        operation, sends, asked = self.recorder.begin(self.name), [], math.inf
        outcome = Outcome.FAIL
        try:
            await producer.begin_transaction()
            for (topic, partition), value in self.drawn():
                sends.append(Send((topic, partition), value))
                told = await producer.send_and_wait(
                    topic, padded(value, self.choose), partition=partition
                )
                sends[-1] = Send((topic, partition), value, told.offset)
            if self.choose.random() < 0.1:
                await producer.abort_transaction()
            else:
                asked, outcome = self.recorder.ask(), Outcome.INFO
                await producer.commit_transaction()
                outcome = Outcome.OK
        finally:
            self.recorder.end(operation, sends, outcome, asked)


class Impatient(KafkaProducer):
    """Its own ends of transactions wait for ever, and 3.0.12 forgets to send one at times: when the
    connection is lost just before, and the coordinator has to be looked for.
    """

    def commit_transaction(self):
        self.wait_for(self._transaction_manager.begin_commit())

    def abort_transaction(self):
        self.wait_for(self._transaction_manager.begin_abort())

    def wait_for(self, end):
        self._sender.wakeup()
        if not end.wait(timeout_ms=FORGOTTEN_MS):
            raise KafkaTimeoutError


class Python(Other):
    def live(self):
        producer = Impatient(
            bootstrap_servers=self.address, transactional_id=self.name,
            transaction_timeout_ms=TRANSACTION_MS, request_timeout_ms=REQUEST_MS,
            delivery_timeout_ms=TRANSACTION_MS, max_block_ms=1000 * PATIENCE_S,
            reconnect_backoff_max_ms=200,
        )  # fmt: skip
        try:
            producer.init_transactions()
            while not self.stopping.is_set():
                self.transact(producer)
        except KafkaError:
            pass  # a new one
        finally:
            with suppress(KafkaTimeoutError):  # it has gone all the same
                producer.close(timeout=0)

    def transact(self, producer):
        operation, sends, asked = self.recorder.begin(self.name), [], math.inf
        outcome = Outcome.FAIL
        try:
            producer.begin_transaction()
            for (topic, partition), value in self.drawn():
                sends.append(Send((topic, partition), value))
                told = producer.send(topic, padded(value, self.choose), partition=partition)
                offset = told.get(timeout=PATIENCE_S).offset
                sends[-1] = Send((topic, partition), value, offset)
            if self.choose.random() < 0.1:
                producer.abort_transaction()
            else:
                asked, outcome = self.recorder.ask(), Outcome.INFO
                producer.commit_transaction()
                outcome = Outcome.OK
        finally:
            self.recorder.end(operation, sends, outcome, asked)
