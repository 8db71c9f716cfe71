"""Django's settings: no database, one server for everything else."""

import os

SECRET_KEY = os.environ.get("SECRET_KEY", "only for trying out")
ALLOWED_HOSTS = ["127.0.0.1", "localhost"]
ROOT_URLCONF = "shop.urls"
INSTALLED_APPS = ["channels"]
MIDDLEWARE = ["django.middleware.security.SecurityMiddleware"]
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

# The layer that uses Redis's publish and subscribe alone, as logstore has them.
CHANNEL_LAYERS = {
    "default": {
        "BACKEND": "channels_redis.pubsub.RedisPubSubChannelLayer",
        "CONFIG": {"hosts": [os.environ.get("REDIS_URL", "redis://127.0.0.1:6379/0")]},
    }
}

KAFKA = os.environ.get("KAFKA", "127.0.0.1:9092")
TOPIC = "orders"
