import json

from django.http import HttpRequest, JsonResponse
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_POST

from shop.tasks import bake


@csrf_exempt  # there are no sessions here
@require_POST
def order(request: HttpRequest) -> JsonResponse:
    asked = json.loads(request.body)
    bake.delay(asked["customer"], asked["what"])
    return JsonResponse({"accepted": True}, status=202)
