"""One Celery task through a worker and back; ``test_celery.py`` has the whole of an application."""

import pytest
from celery_parts import Shop
from serving import Serving


@pytest.mark.long
def test_a_task_is_done_and_its_result_comes_back(tmp_path):
    server = Serving(tmp_path / "data", resp_port=-1, amqp_port=0)
    shop = Shop(tmp_path / "shop", server.amqp)
    try:
        shop.worker("--without-gossip", "--without-mingle")
        ask = shop.ask()
        assert ask("add.delay(2, 3).get(T)") == 5
        assert ask("told.apply_async(priority=3).get(T)['priority']") == 3
    finally:
        shop.close()
    assert server.stop() == (0, "")
