from channels.routing import ProtocolTypeRouter, URLRouter
from django.core.asgi import get_asgi_application
from django.urls import path

http = get_asgi_application()  # first: it loads the settings

from shop.sockets import Customer  # noqa: E402

application = ProtocolTypeRouter(
    {
        "http": http,
        "websocket": URLRouter([path("customers/<slug:customer>", Customer.as_asgi())]),
    }
)
