"""Files of a client's own certificate that cannot be used: said at once, and nobody is asked anything."""

import shutil
import subprocess
from pathlib import Path

import pytest

from embodied.link.address import Address
from embodied.link.port import LinkRefused
from embodied.link.sockets import trust


@pytest.mark.skipif(shutil.which("openssl") is None, reason="needs openssl: apt-get install openssl")
def test_a_key_with_a_pass_phrase_is_refused_and_no_terminal_is_asked(tmp_path: Path) -> None:
    cert, key = tmp_path / "c.pem", tmp_path / "k.pem"
    wanted = f"req -x509 -newkey rsa:2048 -keyout {key} -out {cert} -days 2 -subj /CN=x -passout pass:secret"
    subprocess.run(["openssl", *wanted.split()], check=True, capture_output=True)
    with pytest.raises(LinkRefused, match="must not have a pass phrase"):
        trust(Address.parse("mqtts://h", ca=str(cert), cert=str(cert), key=str(key)))
