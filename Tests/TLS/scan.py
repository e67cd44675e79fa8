#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""sslyze (PyPI) against a listener with TLS: scan.py PORT intermediate|modern [CERTIFICATE KEY].

Ends with 0 when it fits Mozilla's profile, but for its certificate's authority, which no store knows, and when no scan found
a weakness or could not be made. With a certificate of one's own the listener must also refuse who has none.
"""
import faulthandler
import sys
import warnings
from pathlib import Path

warnings.filterwarnings("ignore")

from sslyze import (  # noqa: E402
    ClientAuthenticationCredentials, ScanCommandAttemptStatusEnum, Scanner, ServerNetworkConfiguration,
    ServerNetworkLocation, ServerScanRequest)
from sslyze.mozilla_tls_profile import tls_config_checker as mozilla  # noqa: E402


def scan(port, own=None):
    scanner = Scanner(per_server_concurrent_connections_limit=2)
    scanner.queue_scans([ServerScanRequest(
        server_location=ServerNetworkLocation("test.example", port, ip_address="127.0.0.1"),
        network_configuration=ServerNetworkConfiguration(
            "test.example", network_timeout=20, tls_client_auth_credentials=own),
        scan_commands=mozilla.SCAN_COMMANDS_NEEDED_BY_MOZILLA_CHECKER)])
    [result] = scanner.get_results()
    assert result.scan_result is not None, f"not reached: {result.connectivity_error_trace}"
    return result


def main(port, profile, certificate=None, key=None):
    own = None
    if certificate:
        requirement = scan(port).connectivity_result.client_auth_requirement.name
        assert requirement == "REQUIRED", requirement
        own = ClientAuthenticationCredentials(certificate_chain_path=Path(certificate), key_path=Path(key))
    result = scan(port, own)
    for command in mozilla.SCAN_COMMANDS_NEEDED_BY_MOZILLA_CHECKER:
        attempt = getattr(result.scan_result, command.value)
        assert attempt.status == ScanCommandAttemptStatusEnum.COMPLETED, (command, attempt.error_trace)
    try:
        profile = mozilla.MozillaTlsConfiguration.get(mozilla.TlsConfigurationEnum(profile))
        mozilla.check_server_against_tls_configuration(result, profile)
        issues = {}
    except mozilla.ServerNotCompliantWithTlsConfiguration as found:
        issues = found.issues
    assert set(issues) <= {"certificate_path_validation"}, issues
    renegotiation = result.scan_result.session_renegotiation.result
    assert not renegotiation.is_vulnerable_to_client_renegotiation_dos, renegotiation
    for number in ("ssl_2_0", "ssl_3_0", "tls_1_0", "tls_1_1"):
        accepted = getattr(result.scan_result, f"{number}_cipher_suites").result.accepted_cipher_suites
        assert not accepted, (number, accepted)


if __name__ == "__main__":
    # One that hangs says where.
    faulthandler.dump_traceback_later(100, exit=True)
    main(int(sys.argv[1]), *sys.argv[2:])
