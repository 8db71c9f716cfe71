"""The queues of a server in another process, through its AMQP door: as commands have those here."""
