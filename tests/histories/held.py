"""Clients whose transactions the server holds until their commit: AMQP's, by pika."""

import math

import pika
from pika.exceptions import AMQPError

from tests.histories.confluent import PATIENCE_S, padded
from tests.histories.history import Outcome, Send
from tests.histories.recorder import Client

REST_S = 0.01  # between two transactions: others are to have their turn
AGAIN_S = 0.05  # after a server that was not there


class Amqp(Client):
    """Transactions of messages to exchanges, each of which leads to the topic of its name."""

    def __init__(self, name, recorder, choose, endpoint, places):
        super().__init__(name, recorder, choose)
        self.endpoint, self.places = endpoint, places

    def live(self):
        host, port = self.endpoint
        try:
            connection = pika.BlockingConnection(
                pika.ConnectionParameters(
                    host, port, heartbeat=0, socket_timeout=PATIENCE_S,
                    stack_timeout=PATIENCE_S, blocked_connection_timeout=PATIENCE_S,
                )
            )  # fmt: skip
            channel = connection.channel()
            channel.tx_select()
            while not self.stopping.wait(REST_S):
                self.transact(channel)
            connection.close()
        except AMQPError:
            self.stopping.wait(AGAIN_S)

    def transact(self, channel):
        operation, sends, asked = self.recorder.begin(self.name), [], math.inf
        outcome = Outcome.FAIL
        try:
            for place in self.choose.choices(self.places, k=self.choose.randrange(1, 6)):
                value = self.recorder.value(self.name)
                sends.append(Send(place, value))
                channel.basic_publish(place[0], "", padded(value, self.choose))
            if self.choose.random() < 0.1:
                channel.tx_rollback()
            else:
                asked, outcome = self.recorder.ask(), Outcome.INFO
                channel.tx_commit()
                outcome = Outcome.OK
        finally:
            self.recorder.end(operation, sends, outcome, asked)
