import pytest
from signed import Authority
from tls_kit import InUse


@pytest.fixture(scope="package")
def authority(tmp_path_factory):
    return Authority(tmp_path_factory.mktemp("signed"))


@pytest.fixture(scope="package")
def ours(authority):
    return InUse(authority)


@pytest.fixture
def tls(request, ours):
    return ours if request.param == "tls" else None
