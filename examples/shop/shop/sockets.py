from channels.generic.websocket import AsyncJsonWebsocketConsumer


class Customer(AsyncJsonWebsocketConsumer):
    async def connect(self) -> None:
        self.group = f"customer.{self.scope['url_route']['kwargs']['customer']}"
        await self.channel_layer.group_add(self.group, self.channel_name)
        await self.accept()

    async def disconnect(self, code: int) -> None:
        await self.channel_layer.group_discard(self.group, self.channel_name)

    async def ready(self, event: dict[str, str]) -> None:
        await self.send_json({"ready": event["what"]})
