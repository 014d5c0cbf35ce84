from __future__ import annotations

import pytest

from workbench.client.frame import address, frame, proxy_of


@pytest.mark.parametrize(
    ("given", "environ", "base"),
    [
        (None, {}, ""),
        (None, {"JUPYTERHUB_SERVICE_PREFIX": "/user/ada/"}, "/user/ada/"),
        (None, {"WORKBENCH_DASHBOARD_PROXY": "/lab", "JUPYTERHUB_SERVICE_PREFIX": "/user/ada/"}, "/lab/"),
        (None, {"WORKBENCH_DASHBOARD_PROXY": "", "JUPYTERHUB_SERVICE_PREFIX": "/user/ada/"}, ""),
        ("/", {"WORKBENCH_DASHBOARD_PROXY": "/lab/"}, "/"),
        ("", {"JUPYTERHUB_SERVICE_PREFIX": "/user/ada/"}, ""),
        ("https://hub.example.org/user/ada", {}, "https://hub.example.org/user/ada/"),
    ],
)
def test_what_is_given_comes_before_the_setting_and_that_before_the_hub(given, environ, base) -> None:
    assert proxy_of(given, environ) == base


def test_its_address_is_on_this_machine_or_below_the_notebook_servers() -> None:
    assert address("", 5006, "word") == "http://127.0.0.1:5006/word/"
    assert address("/user/ada/", 5006, "word") == "/user/ada/proxy/5006/word/"


def test_a_frame_takes_nothing_from_its_address_as_html() -> None:
    told = frame('/"><script>/proxy/1/word/', "word", 100, proxied=True)
    assert "<script>" not in told
    assert 'src="/&quot;&gt;&lt;script&gt;/proxy/1/word/"' in told
