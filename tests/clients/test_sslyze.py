"""What a scanner of TLS finds at our doors: nothing weaker than TLS 1.2, and no known hole."""

import json
import subprocess

import pytest
from own_venv import python_with
from serving import Serving
from signed import Authority

SCANNED_S = 300
SCANS = [
    f"--{it}"
    for it in (
        "sslv2", "sslv3", "tlsv1", "tlsv1_1", "tlsv1_2", "tlsv1_3", "heartbleed", "openssl_ccs",
        "reneg", "compression", "robot", "fallback", "ems", "elliptic_curves",
    )
]  # fmt: skip
OLD = ("ssl_2_0", "ssl_3_0", "tls_1_0", "tls_1_1")


@pytest.fixture(scope="module", params=["ec", "2048"])
def found(request, tmp_path_factory):
    """What sslyze says of the Kafka and the Redis door, with a certificate of each kind of key."""
    python = python_with("sslyze")
    folder = tmp_path_factory.mktemp("scanned")
    cert, key = Authority(folder / "signed").server(kind=request.param)
    server = Serving(folder / "data", tls_cert=cert, tls_key=key)
    doors = [f"localhost:{server.tls[it][1]}" for it in ("kafka", "resp", "amqp")]
    try:
        subprocess.run(  # exits with 1: it knows not whom the tests trust
            [python, "-m", "sslyze", f"--json_out={folder / 'found.json'}", *SCANS, *doors],
            timeout=SCANNED_S, check=False, stdout=subprocess.DEVNULL,
        )  # fmt: skip
    finally:
        code, errors = server.stop()
    assert code == 0
    assert "Traceback" not in errors
    results = json.loads((folder / "found.json").read_text())["server_scan_results"]
    assert len(results) == len(doors)
    assert {it["scan_status"] for it in results} == {"COMPLETED"}
    return [it["scan_result"] for it in results]


def accepted(scan, version):
    suites = scan[f"{version}_cipher_suites"]["result"]["accepted_cipher_suites"]
    return [it["cipher_suite"]["name"] for it in suites]


@pytest.mark.long
def test_nothing_weaker_than_tls_1_2_is_spoken(found):
    for scan in found:
        assert [accepted(scan, it) for it in OLD] == [[]] * len(OLD)
        assert accepted(scan, "tls_1_3")
        suites = accepted(scan, "tls_1_2")
        assert suites
        for name in suites:
            assert name.startswith("TLS_ECDHE_")
            assert "GCM" in name or "CHACHA20" in name


HOLES = {
    "heartbleed": "is_vulnerable_to_heartbleed",
    "openssl_ccs_injection": "is_vulnerable_to_ccs_injection",
    "session_renegotiation": "is_vulnerable_to_client_renegotiation_dos",
    "tls_compression": "supports_compression",
}


@pytest.mark.long
def test_no_known_hole_is_found(found):
    for scan in found:
        holes = {name: scan[name]["result"][is_one] for name, is_one in HOLES.items()}
        assert holes == dict.fromkeys(HOLES, False)
        assert scan["session_renegotiation"]["result"]["supports_secure_renegotiation"]
        assert scan["robot"]["result"]["robot_result"].startswith("NOT_VULNERABLE")
        assert scan["tls_fallback_scsv"]["result"]["supports_fallback_scsv"]
        assert scan["tls_extended_master_secret"]["result"]["supports_ems_extension"]


@pytest.mark.long
def test_only_curves_that_are_safe_are_taken(found):
    for scan in found:
        curves = scan["elliptic_curves"]["result"]["supported_curves"]
        assert {it["name"] for it in curves} <= SAFE
        assert "X25519" in {it["name"] for it in curves}


SAFE = {"X25519", "X448", "secp256r1", "secp384r1", "secp521r1"}
